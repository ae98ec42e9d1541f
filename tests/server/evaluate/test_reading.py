"""Folders as data sets, and what of them is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from drawings import drawing

from tamis.client import Limits
from tamis.server.evaluate.dataset import Choice, Dataset
from tamis.server.evaluate.reading import read
from tamis.server.evaluate.rows import DatasetError

LIMITS = Limits(100, 1 << 20, 1000, 10_000, 10_000, 64, 32, 32)


def opened(folder: Path, split: str = "test", only: str = "", pool: str = "") -> Dataset:
    return read(folder, Choice(split=split, only=only, pool=pool, images=folder))


def test_beir_s_folder_is_its_judged_queries(tmp_path: Path) -> None:
    folder = datasets.beir(tmp_path / "shapes")
    with (folder / "queries.jsonl").open("a") as file:
        file.write('\n{"_id": "q-none", "text": "nobody judged this"}\n')
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q-none\tred-circle\t0\nq-red\tnowhere\t2\n")
    dataset = opened(folder)
    assert (dataset.layout, len(dataset.pool)) == ("beir", 12)
    assert [topic.id for topic in dataset.topics] == ["q-red", "q-green", "q-blue", "q-yellow"]
    red = dataset.topics[0]
    assert (red.group, red.text) == ("shapes", "a red thing")
    assert red.relevant == {"red-circle": 1, "red-square": 1, "red-triangle": 1, "nowhere": 2}
    assert dataset.unreachable == 1


def test_beir_s_title_stands_before_the_text(tmp_path: Path) -> None:
    folder = datasets.beir(tmp_path)
    datasets.put(folder / "corpus.jsonl", [{"_id": "a", "title": "Crows", "text": "are black."}])
    (document,) = opened(folder).pool.documents(LIMITS)
    assert document.text == "Crows are black."


def test_m_beir_s_topics_have_the_task_of_their_modalities(tmp_path: Path) -> None:
    dataset = opened(datasets.mbeir(tmp_path))
    assert [(t.group, t.task) for t in dataset.topics[::12]] == [
        ("mbeir_mscoco_task0_test", "mbeir/mscoco_task0"),
        ("mbeir_mscoco_task3_test", "mbeir/mscoco_task3"),
    ]
    assert dataset.topics[0].relevant == {"9:0": 1}
    documents = {one.id: one for one in dataset.pool.documents(LIMITS)}
    assert len(documents) == len(dataset.pool) == 24
    assert (documents["9:0"].text, documents["9:0"].image) == (None, drawing("circle", "red"))
    assert (documents["9:100"].text, documents["9:100"].image) == ("A red circle.", None)


def test_positives_of_the_query_s_own_data_set_tell_its_task(tmp_path: Path) -> None:
    """OVEN's and InfoSeek's queries have positives in each other's pools, of other modalities."""
    folder = datasets.mbeir(tmp_path)
    datasets.put(
        folder / "query" / "test" / "mbeir_mscoco_task0_test.jsonl",
        [
            datasets.asked(0, ["5:1", "9:none", "9:0"], query_txt="red"),
            datasets.asked(1, ["5:1"], query_txt="red", qid="5:7"),
        ],
    )
    datasets.put(
        folder / "cand_pool" / "oven.jsonl", [{"did": "5:1", "txt": "Red.", "img_path": None}]
    )
    first, other = opened(folder, only="task0").topics
    assert first.relevant == {"5:1": 1, "9:none": 1, "9:0": 1}
    assert (first.task, other.task) == ("mbeir/mscoco_task0", None)


def test_a_document_of_two_pools_is_there_once(tmp_path: Path) -> None:
    folder = datasets.mbeir(tmp_path)
    datasets.put(folder / "cand_pool" / "global" / "all.jsonl", map(datasets.picture, range(12)))
    assert len(opened(folder).pool) == len(list(opened(folder).pool.documents(LIMITS))) == 24
    assert len(opened(folder, pool="global").pool) == 12


def test_m2kr_s_topics_have_answers_and_instructions(tmp_path: Path) -> None:
    folder = datasets.m2kr(tmp_path)
    row = {"passage_id": "p", "passage_content": "words"}
    datasets.put(folder / "WIT_passages" / "test_passages.jsonl", [row])
    datasets.put(
        folder / "WIT_data" / "test.jsonl",
        [{"question_id": "q", "question": "x", "instruction": "Find:", "pos_item_ids": ["p"]}],
    )
    dataset = opened(folder)
    assert len(dataset.pool) == 13
    first, last = dataset.topics[0], dataset.topics[-1]
    assert (first.group, first.task, first.instruction) == ("OKVQA", "m2kr/okvqa", None)
    assert (first.answers, first.relevant) == ((" Circle ", "ring"), {"p-red-circle": 1})
    assert first.image == folder / "red-circle.png"
    assert (last.group, last.task, last.instruction, last.image) == ("WIT", None, "Find:", None)


def test_a_split_is_its_own_files(tmp_path: Path) -> None:
    folder = datasets.mbeir(tmp_path)
    (folder / "query" / "union_train").mkdir()
    row = datasets.asked(0, ["9:0"], query_txt="red")
    datasets.put(folder / "query" / "union_train" / "mbeir_union_train.jsonl", [row])
    assert len(opened(folder).topics) == 24
    assert len(opened(folder, split="train").topics) == 1
    with pytest.raises(DatasetError, match="no queries with split 'val'"):
        opened(folder, split="val")


def test_a_picture_that_the_server_does_not_take_is_skipped(tmp_path: Path) -> None:
    folder = datasets.mbeir(tmp_path)
    (folder / "images" / "red-square.png").write_bytes(b"x" * 10_001)
    pool = opened(folder).pool
    assert len(list(pool.documents(LIMITS))) == 23
    assert pool.skipped == [("9:4", "10001 bytes; the server takes at most 10000")]


Folder = Callable[[Path], Path]


def change(path: str, line: int, **values: Any) -> Callable[[Path], None]:
    """Changes one line's values in a folder."""

    def apply(folder: Path) -> None:
        lines = (folder / path).read_text().splitlines()
        lines[line - 1] = json.dumps(json.loads(lines[line - 1]) | values)
        (folder / path).write_text("\n".join(lines))

    return apply


def write(path: str, data: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / path).write_bytes(data)

    return apply


POOL, QUERY = "cand_pool/local/images.jsonl", "query/test/mbeir_mscoco_task0_test.jsonl"
DATA = "OKVQA_data/test-00000-of-00001.jsonl"


@pytest.mark.parametrize(
    ("layout", "spoil", "problem"),
    [
        (datasets.beir, write("corpus.jsonl", b'{"_id": "a"\n'), r"corpus\.jsonl:1: not JSON"),
        (datasets.beir, write("corpus.jsonl", b"\n[1]\n"), r"corpus\.jsonl:2: expected a JSON obj"),
        (datasets.beir, write("corpus.jsonl", b"[" * 200_000), "1: not JSON: .*recursion"),
        (datasets.beir, write("corpus.jsonl", b"\xff\n"), r"corpus\.jsonl:1: not UTF-8"),
        (datasets.beir, write("corpus.jsonl", b""), "no documents with split 'test'"),
        (datasets.beir, change("corpus.jsonl", 3, _id=7), r"jsonl:3: _id: expected a text, got 7"),
        (datasets.beir, change("corpus.jsonl", 3, text=""), "document blue-circle: has neither"),
        (datasets.beir, change("corpus.jsonl", 3, text="\ud800"), r"jsonl:3: text: .*surrogates"),
        (datasets.beir, change("queries.jsonl", 1, _id="x"), r"tsv:2: query 'q-red' is not in"),
        (datasets.beir, write("qrels/test.tsv", b"q-red\tx\n"), "tsv:1: expected 3 columns, got 2"),
        (
            datasets.beir,
            write("qrels/test.tsv", b"q-red\tx\t1\nq-red\ty\thigh\n"),
            "tsv:2: relevance: expected a whole number, got 'high'",
        ),
        (datasets.mbeir, change(POOL, 2, did=" "), r"images\.jsonl:2: did: missing or empty"),
        (datasets.mbeir, change(POOL, 2, img_path="no.png"), r"jsonl:2: img_path: .*no such file"),
        (
            datasets.mbeir,
            change(POOL, 2, img_path="../a.png"),
            r"'\.\./a\.png' is not a path below",
        ),
        (datasets.mbeir, change(POOL, 2, img_path="/etc/passwd"), "'/etc/passwd' is not a path"),
        (datasets.mbeir, change(POOL, 2, img_path="a\0b"), r"'a\\x00b' is not a path"),
        (datasets.mbeir, change(QUERY, 5, pos_cand_list="9:1"), "jsonl:5: .*a list of texts"),
        (datasets.mbeir, change(QUERY, 5, pos_cand_list=[]), "jsonl:5: pos_cand_list: missing or"),
        (
            datasets.mbeir,
            change(QUERY, 5, qid="9:0"),
            "query '9:0' of .*task0_test: is there twice",
        ),
        (datasets.mbeir, change(QUERY, 5, query_txt=None), "'9:4' of .*: has neither text nor"),
        (
            datasets.m2kr,
            change(DATA, 1, pos_item_ids=[], answers=[""]),
            "'q-red' of OKVQA: nothing is relevant",
        ),
    ],
)
def test_a_line_that_is_wrong_is_named(
    tmp_path: Path, layout: Folder, spoil: Callable[[Path], None], problem: str
) -> None:
    folder = layout(tmp_path)
    opened(folder)
    spoil(folder)
    with pytest.raises(DatasetError, match=problem):
        opened(folder)


def test_parquet_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = datasets.m2kr(tmp_path)
    (folder / "OKVQA_data" / "test-00000-of-00001.jsonl").rename(
        folder / "OKVQA_data" / "x.parquet"
    )
    with pytest.raises(
        DatasetError, match=r"\*_data: Parquet is not read; write its rows as JSONL"
    ):
        opened(folder)


def test_a_folder_of_no_layout_says_what_each_has(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none of corpus\.jsonl, cand_pool, \*_passages"):
        opened(tmp_path)
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        opened(tmp_path / "nowhere")


def test_a_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    folder = datasets.beir(tmp_path)
    with pytest.raises(DatasetError, match=r"dev\.tsv: no such file; .* there: test"):
        opened(folder, split="dev")

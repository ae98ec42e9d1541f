"""Small data sets for tests, in the layouts of the benchmarks, of the drawings."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drawings import COLOURS, SHAPES, drawing

NAMES = [f"{colour}-{shape}" for shape in SHAPES for colour in COLOURS]


def put(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes a JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def words(name: str) -> str:
    return f"A {name.replace('-', ' ')}."


def beir(folder: Path) -> Path:
    """Twelve captions; a colour asks for its three shapes."""
    put(folder / "corpus.jsonl", [{"_id": n, "title": "", "text": words(n)} for n in NAMES])
    put(folder / "queries.jsonl", [{"_id": f"q-{c}", "text": f"a {c} thing"} for c in COLOURS])
    lines = [f"q-{c}\t{n}\t1\n" for c in COLOURS for n in NAMES if n.startswith(f"{c}-")]
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def mbeir(folder: Path) -> Path:
    """Twelve pictures and their twelve captions in one pool; each asks for the other."""
    for name in NAMES:
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing(*reversed(name.split("-"))))
    put(folder / "cand_pool" / "local" / "images.jsonl", map(picture, range(len(NAMES))))
    put(folder / "cand_pool" / "local" / "texts.jsonl", map(caption, range(len(NAMES))))
    put(
        folder / "query" / "test" / "mbeir_mscoco_task0_test.jsonl",
        [asked(i, [f"9:{i}"], query_txt=words(name)) for i, name in enumerate(NAMES)],
    )
    put(
        folder / "query" / "test" / "mbeir_mscoco_task3_test.jsonl",
        [
            asked(100 + i, [f"9:{100 + i}"], query_img_path=f"images/{name}.png")
            for i, name in enumerate(NAMES)
        ],
    )
    return folder


def picture(i: int) -> dict[str, Any]:
    path = f"images/{NAMES[i]}.png"
    return {"did": f"9:{i}", "txt": None, "img_path": path, "modality": "image"}


def caption(i: int) -> dict[str, Any]:
    return {"did": f"9:{100 + i}", "txt": words(NAMES[i]), "img_path": None, "modality": "text"}


def asked(i: int, positives: list[str], **parts: str) -> dict[str, Any]:
    return {
        "qid": f"9:{i}",
        "query_txt": None,
        "query_img_path": None,
        "pos_cand_list": positives,
        "neg_cand_list": [],
    } | parts


def m2kr(folder: Path) -> Path:
    """Passages of all drawings; a picture and a question ask for one of them."""
    put(
        folder / "OKVQA_passages" / "test_passages-00000-of-00001.jsonl",
        [{"passage_id": f"p-{name}", "passage_content": words(name)} for name in NAMES],
    )
    questions = []
    for colour in COLOURS:
        name = f"{colour}-circle"
        (folder / f"{name}.png").write_bytes(drawing("circle", colour))
        questions.append(
            {
                "question_id": f"q-{colour}",
                "question": f"Is the {colour} thing round?",
                "img_path": f"{name}.png",
                "pos_item_ids": [f"p-{name}"],
                "answers": [" Circle ", "ring"],
            }
        )
    put(folder / "OKVQA_data" / "test-00000-of-00001.jsonl", questions)
    return folder

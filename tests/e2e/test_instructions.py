"""A mixed pool searched with instructions over a real port, by tiny UniIRs of the golden data."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from drawings import COLOURS, SHAPES, drawing
from golden import golden_cases
from serving import serving
from tiny_towers import exported

from tamis.client import Client, Document, Embedding, Query
from tamis.models import instructions

METHOD = "uniir_clip_sf"
SERVER = """
[encoders.uniir]
method = "{method}"
settings = {{ folder = "{folder}" }}

[pipelines.default.retrieve]
method = "dense"
settings = {{ vector = "uniir.dense" }}
[pipelines.default.rerank]
depth = 0
[pipelines.default.refine]
depth = 0
"""
TASK = "mbeir/mscoco_task0"
TEXTS = [f"w{first} w{second}" for first in (4, 5, 6) for second in (7, 8, 9, 10)]
PICTURES = [drawing(shape, colour) for shape in SHAPES for colour in COLOURS]
POOL = {
    "text": [Document(id=f"text-{i}", text=text) for i, text in enumerate(TEXTS)],
    "image": [Document(id=f"image-{i}", image=image) for i, image in enumerate(PICTURES)],
    "image_text": [
        Document(id=f"image_text-{i}", text=text, image=image)
        for i, (text, image) in enumerate(zip(TEXTS, PICTURES, strict=True))
    ],
}
ALL = [document for documents in POOL.values() for document in documents]


@pytest.fixture(scope="module", params=golden_cases(METHOD))
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """Of a server whose collection `pool` has every document."""
    case: Path = request.param
    heads = json.loads((case / "config.json").read_text())["clip"]["transformer_heads"]
    folder = tmp_path_factory.mktemp(METHOD)
    golden = exported(case, folder, METHOD, {"text_heads": str(heads)})
    settings = folder / "tamis.toml"
    settings.write_text(SERVER.format(method=METHOD, folder=golden.folder))
    with serving(folder / "data", settings=settings) as running, Client(running.target) as client:
        assert client.upsert("pool", ALL).final().upserted == len(ALL)
        yield client


def vectors(client: Client, contents: Sequence[Query], side: str) -> np.ndarray:
    made = client.embed("uniir", contents, side)
    found = [one.representations["uniir.dense"] for one in made if isinstance(one, Embedding)]
    assert len(found) == len(contents)
    return np.stack([np.asarray(one) for one in found])


def ranking(client: Client, query: Query, *modalities: str) -> dict[str, float]:
    """The documents' scores, best first."""
    hits = client.hits(query, collection="pool", k=len(ALL), modalities=modalities)
    return {hit.document_id: hit.score for hit in hits}


@pytest.mark.parametrize("image", [None, drawing("circle", "red")], ids=["text", "text and image"])
def test_an_instruction_is_part_of_a_query_s_embedding_and_that_ranks(
    client: Client, image: bytes | None
) -> None:
    asked, told, plain = (
        Query("w4", image, "w5 w6"), Query("w5 w6 w4", image), Query("w4", image)
    )  # fmt: skip
    embedded = vectors(client, [asked, told, plain], "query")
    assert embedded[0] == pytest.approx(embedded[1], abs=1e-5)
    assert np.abs(embedded[0] - embedded[2]).max() > 1e-3
    documents = vectors(client, [Query(one.text, one.image) for one in ALL], "document")
    cosines = documents @ embedded[0]
    expected = {one.id: float(score) for one, score in zip(ALL, cosines, strict=True)}
    assert ranking(client, asked) == pytest.approx(expected, abs=1e-4)


def test_another_instruction_gives_another_ranking(client: Client) -> None:
    """Which one is put first is for a trained model to say; this one's weights are random."""
    queries = [Query("w4", instruction=one) for one in (None, "w5", "w6 w7", "w8 w9 w10 w4")]
    rankings = [ranking(client, query) for query in queries]
    assert all(len(one) == len(ALL) for one in rankings)
    assert len({tuple(one) for one in rankings}) == len(queries)


def test_a_task_is_searched_with_its_instruction(client: Client) -> None:
    told = ranking(client, Query("w4", instruction=instructions.find(TASK).instruction))
    assert ranking(client, Query("w4", task=TASK)) == told
    assert ranking(client, Query("w4")) != told


@pytest.mark.parametrize(
    "modalities", [[one] for one in POOL] + [["text", "image"], ["image", "image_text"]], ids=str
)
def test_a_modality_filter_leaves_out_the_others_and_changes_nothing_else(
    client: Client, modalities: list[str]
) -> None:
    query = Query("w4", drawing("square", "blue"), "w5 w6")
    whole = ranking(client, query)
    wanted = [name for name in whole if name.partition("-")[0] in modalities]
    assert len(wanted) == 12 * len(modalities)
    assert list(ranking(client, query, *modalities)) == wanted

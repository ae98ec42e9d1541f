"""Documents of a million tokens, or of too many vectors, among others over a real port."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving import Served, serving

from tamis.client import Client, Document, DocumentFailure, Tensor

SETTINGS = """
[encoders.bm25]
method = "bm25"
[encoders.minilm]
method = "minilm"
settings = { folder = "artifacts/minilm" }
[encoders.own]
method = "external"
settings = { space = "own", kind = "multi", dim = 4 }

[limits]
max_text_bytes = 16_777_216

[late_interaction]
max_vectors = 100

[store]
vectors = ["bm25.terms", "minilm.dense", "own.given"]

[pipelines.default.retrieve]
method = "dense"
settings = { vector = "minilm.dense" }

[pipelines.words.retrieve]
method = "bm25"

[pipelines.tokens.retrieve]
method = "max_sim"
settings = { vector = "own.given" }
"""
BEGINNING = "Bicycles on a mountain road in the snow. "
LONG = BEGINNING + "a tamis is a drum sieve " * 200_000 + "the last word is quince"
OTHERS = [Document(id=f"other-{number}", text=f"Sentence number {number}.") for number in range(9)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("long")
    settings = folder / "tamis.toml"
    settings.write_text(SETTINGS)
    with serving(folder / "data", settings=settings) as running:
        yield running


def failures(client: Client, collection: str, documents: list[Document]) -> list[DocumentFailure]:
    with client.upsert(collection, documents, timeout=60) as steps:
        return [failure for step in steps for failure in step.failures]


def test_of_a_text_of_a_million_tokens_each_encoder_reads_what_it_reads(
    client: Client, collection: str
) -> None:
    """Words to the last one, a model of 256 tokens the beginning; the whole text is kept."""
    long = Document(id="long", text=LONG)
    assert failures(client, collection, [*OTHERS[:5], long, *OTHERS[5:]]) == []
    assert client.collection(collection).documents == 10
    (words,) = client.hits("quince", collection=collection, pipeline="words")
    assert words.document_id == "long"
    assert words.document is not None
    assert words.document.text == LONG
    first, *_ = client.hits("cycling in winter", collection=collection, k=10, view="id")
    assert first.document_id == "long"


def test_a_document_of_too_many_vectors_is_named_and_the_others_go_in(
    client: Client, collection: str
) -> None:
    def document(name: str, count: int) -> Document:
        vectors = np.full((count, 4), 0.5, np.float32)
        return Document(id=name, representations={"own.given": Tensor.of(vectors)})

    documents = [document("few", 1), document("many", 101), document("most", 100), *OTHERS]
    (failed,) = failures(client, collection, documents)
    assert failed.document_id == "many"
    assert failed.failure.message == "own.given: 101 vectors; at most 100"
    assert client.collection(collection).documents == 11
    query = {"own.given": Tensor.of(np.ones((1, 4), np.float32))}
    hits = client.hits(collection=collection, pipeline="tokens", representations=query)
    assert {hit.document_id for hit in hits} == {"few", "most"}

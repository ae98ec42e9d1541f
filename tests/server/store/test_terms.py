"""What counts of terms score through an index, against bm25s and against plain formulas."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import bm25s
import numpy as np
import pytest
from qdrant_client import models

from tamis.models.blocks.term_weights import document_weights
from tamis.models.blocks.words import counted, dimension
from tamis.models.retrievers import Nearest, Plan
from tamis.models.types import TermWeighting
from tamis.server.plans import ask, vector
from tamis.server.store import CollectionSchema, VectorStore, point
from tamis.server.terms import Terms, table_of, weighting

VOCABULARY = [f"w{i}" for i in range(40)]
METHODS = {
    "lucene": "lucene",
    "robertson": "robertson",
    "atire": "atire",
    "bm25l": "bm25l",
    "bm25_plus": "bm25+",
}
Texts = list[list[str]]


def written(rng: np.random.Generator, count: int) -> Texts:
    """Texts of 1 to 25 words, of which a few are in nearly all and many are in few."""
    chances = 1 / np.arange(1, len(VOCABULARY) + 1)
    return [
        [str(w) for w in rng.choice(VOCABULARY, size=size, p=chances / chances.sum())]
        for size in rng.integers(1, 25, size=count)
    ]


class Indexed:
    """A collection of texts in a store, each under its number."""

    def __init__(self, store: VectorStore, how: TermWeighting) -> None:
        self.name = f"c-{uuid4().hex[:8]}"
        self._store = store
        self._schema = CollectionSchema(
            vectors={},
            sparse={"a.terms": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            metadata={"weightings": table_of({"a.terms": how}, {})},
        )

    async def make(self, texts: Texts) -> None:
        await self._store.create(self.name, self._schema)
        await self.put(dict(enumerate(texts)))

    async def put(self, texts: Mapping[int, list[str]]) -> None:
        how = weighting(await self._store.schema(self.name), "a.terms")
        assert how is not None
        points = [
            point(
                str(UUID(int=number + 1)),
                vectors={"a.terms": vector(document_weights(counted(text), how))},
                payload={},
            )
            for number, text in texts.items()
        ]
        await self._store.upsert(self.name, points)

    async def scores(self, query: Sequence[str]) -> dict[int, float]:
        plan = Plan(Nearest("a.terms", counted(query)), 1_000)
        plan = await Terms(self._store).weighed(self.name, self._schema, plan)
        found = await ask(self._store, self.name, plan, None)
        return {UUID(str(hit.id)).int - 1: hit.score for hit in found}


def oracle(texts: Texts, query: Sequence[str], how: TermWeighting) -> dict[int, float]:
    """bm25s's scores above 0.

    BM25L and BM25+ give it to words that do not occur too, which their paper does not.
    """
    model = bm25s.BM25(method=METHODS[how.variant], k1=how.k1, b=how.b, delta=how.delta)
    model.index(texts, show_progress=False)
    known = [word for word in query if word in model.vocab_dict]
    scores = model.get_scores(known)
    absent = {
        "bm25l": (how.k1 + 1) * how.delta / (how.k1 + how.delta),
        "bm25_plus": how.delta,
    }.get(how.variant, 0.0)
    found = {}
    for number, text in enumerate(texts):
        extra = sum(absent * idf(word, texts, how) for word in known if word not in text)
        if (score := float(scores[number]) - extra) > 1e-6:
            found[number] = score
    return found


def idf(word: str, texts: Texts, how: TermWeighting) -> float:
    n, count = sum(word in text for text in texts), len(texts)
    if how.variant == "bm25l":
        return math.log((count + 1) / (n + 0.5))
    return math.log((count + 1) / n)


@pytest.mark.parametrize("variant", METHODS)
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 1.0), (0.82, 0.0)])
async def test_scores_are_those_of_bm25s(
    store: VectorStore, rng: np.random.Generator, variant: str, k1: float, b: float
) -> None:
    texts = written(rng, 60)
    mean = sum(map(len, texts)) / len(texts)
    how = TermWeighting(variant=variant, k1=k1, b=b, average_length=mean)
    indexed = Indexed(store, how)
    await indexed.make(texts)
    for query in (["w0", "w7"], ["w30", "w2", "w2", "nowhere"], ["w12", "w25", "w5", "w1"]):
        found, expected = await indexed.scores(query), oracle(texts, query, how)
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
        order = sorted(found, key=lambda number: -found[number])
        scores = [expected[number] for number in order]
        assert scores == pytest.approx(sorted(scores, reverse=True), abs=1e-5)


async def test_tf_idf_is_the_cosine_of_logarithms(
    store: VectorStore, rng: np.random.Generator
) -> None:
    texts, query = written(rng, 40), ["w3", "w9", "w9", "w20"]
    indexed = Indexed(store, TermWeighting(variant="tf_idf"))
    await indexed.make(texts)
    df = {word: sum(word in text for text in texts) for word in query}
    asked = {
        word: (1 + math.log(count)) * math.log(len(texts) / df[word])
        for word, count in Counter(query).items()
        if df[word]
    }
    length = math.sqrt(sum(weight**2 for weight in asked.values()))

    def score(text: list[str]) -> float:
        own = {word: 1 + math.log(count) for word, count in Counter(text).items()}
        inner = sum(weight * own.get(word, 0) for word, weight in asked.items())
        return inner / length / math.sqrt(sum(weight**2 for weight in own.values()))

    expected = {i: score(text) for i, text in enumerate(texts) if set(asked) & set(text)}
    assert await indexed.scores(query) == pytest.approx(expected, rel=1e-4, abs=1e-5)


async def test_a_replaced_document_counts_as_it_is_now(store: VectorStore) -> None:
    """Ten documents had the word, and one has it still."""
    how = TermWeighting(variant="robertson", average_length=2.0)
    indexed = Indexed(store, how)
    await indexed.make([["rare", "a"]] * 10 + [["b", "c"]] * 5)
    assert await indexed.scores(["rare"]) == {}  # a word of more than half of them says nothing
    await indexed.put({number: ["b", "c"] for number in range(9)})
    scores = await indexed.scores(["rare"])
    texts = [["b", "c"]] * 9 + [["rare", "a"]] + [["b", "c"]] * 5
    assert scores == pytest.approx(oracle(texts, ["rare"], how), rel=1e-4)


async def test_a_query_of_unknown_words_finds_nothing(store: VectorStore) -> None:
    indexed = Indexed(store, TermWeighting(variant="robertson", average_length=2.0))
    await indexed.make([["a", "b"]])
    assert await indexed.scores(["nowhere"]) == {}


def test_dimensions_of_the_words_of_this_test_do_not_collide() -> None:
    assert len({dimension(word) for word in VOCABULARY}) == len(VOCABULARY)

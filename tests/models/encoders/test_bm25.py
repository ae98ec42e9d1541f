"""BM25's weights, against the formula computed word by word over whole collections."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.encoders.bm25 import BM25, dimension, words
from tamis.models.errors import SettingsError
from tamis.models.types import Content, Kind, Side, Sparse

WORDS = st.lists(st.sampled_from(["ant", "bee", "cat", "dog", "elk"]), min_size=1, max_size=12)


def terms(encoder: BM25, text: str, side: Side) -> Sparse:
    (encoding,) = encoder.encode([Content(text=text)], side)
    made = encoding.heads["terms"]
    assert isinstance(made, Sparse)
    return made


def inner(query: Sparse, document: Sparse, idf: dict[int, float]) -> float:
    """What an index computes: the inner product, each dimension times how rare it is."""
    weights = dict(zip(document.indices.tolist(), document.values.tolist(), strict=True))
    pairs = zip(query.indices.tolist(), query.values.tolist(), strict=True)
    return sum(value * idf[i] * weights.get(i, 0.0) for i, value in pairs)


def okapi(
    query: list[str], document: list[str], collection: list[list[str]], k1: float, b: float
) -> float:
    """Robertson and Zaragoza's formula, with the idf that is never negative."""
    average = sum(map(len, collection)) / len(collection)
    score = 0.0
    for word in query:
        df = sum(word in other for other in collection)
        idf = math.log(1 + (len(collection) - df + 0.5) / (df + 0.5))
        tf = document.count(word)
        score += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(document) / average))
    return score


@given(
    collection=st.lists(WORDS, min_size=1, max_size=6),
    query=WORDS,
    k1=st.floats(0.1, 3),
    b=st.floats(0, 1),
)
def test_with_the_indexs_idf_it_is_the_papers_score(
    collection: list[list[str]], query: list[str], k1: float, b: float
) -> None:
    average = sum(map(len, collection)) / len(collection)
    encoder = BM25(k1=k1, b=b, average_length=average)
    found = Counter(word for document in collection for word in set(document))
    idf = {
        dimension(word): math.log(1 + (len(collection) - found[word] + 0.5) / (found[word] + 0.5))
        for word in {*query, *found}
    }
    for document in collection:
        score = inner(
            terms(encoder, " ".join(query), Side.QUERY),
            terms(encoder, " ".join(document), Side.DOCUMENT),
            idf,
        )
        assert score == pytest.approx(okapi(query, document, collection, k1, b), rel=1e-5)


@given(st.text())
def test_dimensions_are_distinct_and_in_rising_order(text: str) -> None:
    (encoding,) = BM25().encode([Content(text=text)], Side.DOCUMENT)
    assert ("terms" in encoding.heads) == bool(words(text))
    for made in encoding.heads.values():
        assert isinstance(made, Sparse)
        assert (np.diff(made.indices) > 0).all()
        assert ((made.indices >= 0) & (made.indices < 2**32)).all()
        assert (made.values > 0).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red, red Bicycle!", ["a", "red", "red", "bicycle"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ﬁne １２３", ["fine", "123"]),  # noqa: RUF001 - they are meant
        ("snake_case 3.14 don't", ["snake_case", "3", "14", "don", "t"]),
        ("東京へ行く", ["東", "京", "へ", "行", "く"]),
        ("iPhone15東", ["iphone15", "東"]),
        ("Ёлка Äpfel", ["ёлка", "äpfel"]),
        (" \n\t--- ", []),
    ],
)
def test_words_are_compared_without_case_and_compatibility_forms(
    text: str, expected: list[str]
) -> None:
    assert words(text) == expected


def test_a_words_dimension_is_the_crc32_of_its_utf8() -> None:
    assert dimension("123456789") == 0xCBF43926  # the checksum's published check value


def test_a_query_counts_its_words() -> None:
    made = terms(BM25(), "red red bicycle", Side.QUERY)
    expected = {dimension("red"): 2.0, dimension("bicycle"): 1.0}
    assert dict(zip(made.indices.tolist(), made.values.tolist(), strict=True)) == expected


def test_a_text_without_words_has_no_terms() -> None:
    assert [e.heads for e in BM25().encode([Content(text=" ... "), Content()], Side.QUERY)] == [
        {},
        {},
    ]


def test_the_index_is_asked_for_the_idf() -> None:
    (head,) = BM25().heads.values()
    assert (head.kind, head.dim, head.idf) == (Kind.SPARSE, 0, True)


def test_other_settings_are_another_fingerprint() -> None:
    made = [BM25(), BM25(k1=0.9), BM25(b=0.4), BM25(average_length=80.0)]
    assert len({encoder.fingerprint for encoder in made}) == 4
    assert BM25().fingerprint == BM25(k1=1.2, b=0.75).fingerprint


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"k1": -1.0}, "k1 must be at least 0, not -1"),
        ({"b": 1.5}, r"b must be from 0 to 1, not 1\.5"),
        ({"average_length": 0}, "average_length must be above 0 words, not 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(table: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(Encoder, "bm25", table)

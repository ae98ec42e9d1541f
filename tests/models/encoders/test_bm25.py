"""BM25's counts of words; what they weigh is checked where the index multiplies them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models import catalog
from tamis.models.blocks.words import dimension, words
from tamis.models.encoders import Encoder
from tamis.models.encoders.bm25 import BM25
from tamis.models.errors import SettingsError
from tamis.models.types import Content, Kind, Side, Sparse


def terms(encoder: BM25, text: str, side: Side) -> Sparse:
    (encoding,) = encoder.encode([Content(text=text)], side)
    made = encoding.heads["terms"]
    assert isinstance(made, Sparse)
    return made


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


@pytest.mark.parametrize("side", Side)
def test_words_are_counted(side: Side) -> None:
    made = terms(BM25(), "red red bicycle", side)
    expected = {dimension("red"): 2.0, dimension("bicycle"): 1.0}
    assert dict(zip(made.indices.tolist(), made.values.tolist(), strict=True)) == expected


def test_a_text_without_words_has_no_terms() -> None:
    assert [e.heads for e in BM25().encode([Content(text=" ... "), Content()], Side.QUERY)] == [
        {},
        {},
    ]


def test_the_index_is_asked_for_the_idf_and_told_how_to_weigh() -> None:
    (head,) = BM25(variant="robertson", k1=0.9, b=0.4).heads.values()
    assert (head.kind, head.dim, head.idf) == (Kind.SPARSE, 0, True)
    assert head.weighting is not None
    assert (head.weighting.variant, head.weighting.k1, head.weighting.b) == ("robertson", 0.9, 0.4)


def test_settings_of_the_weighting_leave_the_counts_as_they_are() -> None:
    """A collection that was made with others still compares its counts with these."""
    assert len({BM25().fingerprint, BM25(k1=0.9).fingerprint, BM25(b=0.4).fingerprint}) == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"k1": -1.0}, "k1 must be at least 0, not -1"),
        ({"b": 1.5}, r"b must be from 0 to 1, not 1\.5"),
        (
            {"average_length": -1.0},
            "average_length must be above 0 words, or 0 to measure it, not -1",
        ),
        ({"variant": "okapi"}, "variant must be one of lucene, robertson, .*, not 'okapi'"),
        ({"variant": "tf_idf"}, "variant tf_idf is the encoder tf_idf"),
    ],
)
def test_a_setting_out_of_range_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(Encoder, "bm25", table)

"""tf-idf's counts; what they weigh is checked where the index multiplies them."""

from tamis.models.blocks.words import counted
from tamis.models.encoders.bm25 import BM25
from tamis.models.encoders.tf_idf import TfIdf
from tamis.models.types import Content, Side, Sparse


def test_words_are_counted_as_bm25_does_but_in_a_space_of_their_own() -> None:
    (encoding,) = TfIdf().encode([Content(text="red red bicycle")], Side.DOCUMENT)
    made, expected = encoding.heads["terms"], counted(["red", "red", "bicycle"])
    assert isinstance(made, Sparse)
    assert made.indices.tolist() == expected.indices.tolist()
    assert made.values.tolist() == expected.values.tolist()
    (own,), (other,) = TfIdf().heads.values(), BM25().heads.values()
    assert own.space != other.space
    assert own.weighting is not None
    assert own.weighting.variant == "tf_idf"
    assert TfIdf().fingerprint != BM25().fingerprint


def test_a_text_without_words_has_no_terms() -> None:
    assert [e.heads for e in TfIdf().encode([Content(text="...")], Side.QUERY)] == [{}]

"""The plan of a lexical search."""

import numpy as np

from tamis.models.retrievers import Nearest, Plan
from tamis.models.retrievers.bm25 import BM25
from tamis.models.types import Content, Query, Sparse


def test_it_searches_by_the_querys_terms() -> None:
    terms = Sparse(np.array([3, 7]), np.array([1.0, 2.0]))
    query = Query(Content(text="red"), {"bm25.terms": terms, "minilm.dense": np.ones(4)})
    assert BM25().plan(query, 5) == Plan(Nearest("bm25.terms", terms), 5)


def test_a_query_without_terms_has_no_plan() -> None:
    none = Sparse(np.empty(0, dtype=np.int64), np.empty(0))
    assert BM25().plan(Query(Content(), {"minilm.dense": np.ones(4)}), 5) is None
    assert BM25().plan(Query(Content(), {"bm25.terms": none}), 5) is None


def test_other_term_weights_are_searched_by_name() -> None:
    retriever = BM25(vector="splade.terms")
    assert retriever.vectors == retriever.needs == ("splade.terms",)

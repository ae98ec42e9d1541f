"""BM25 and tf-idf, parted between an index's two sides.

A document's weight of a term depends on its count and the document's length; a query's on how rare
the term is. An index multiplies the two, and Qdrant's also multiplies each of a query's terms by

    x = ln(1 + (N - n + 0.5) / (n + 0.5)) = ln((N + 1) / (n + 0.5))

for a term of n among N documents: the inverse document frequency of Lucene and of BM25L. That of
Robertson is ln(exp(x) - 1). Those of the others take N too. So a query's weights can be what any
variant asks for, without a table of terms beside the index.

Formulas: Kamphuis et al., "Which BM25 Do You Mean?", 2020; for BM25L and BM25+ Lv and Zhai, 2011:
a term that does not occur adds nothing.
"""

import numpy as np
from jaxtyping import Float

from tamis.models.types import Sparse, TermWeighting


def document_weights(counts: Sparse, how: TermWeighting) -> Sparse:
    """What a document's terms weigh, but for how rare they are.

    Args:
        counts: How often each term occurs; they need not be whole numbers.
        how: The weighting, whose average length is known where its variant has a use for it.
    """
    tf = counts.values.astype(np.float64)
    if how.variant == "tf_idf":
        weights = 1 + np.log(np.maximum(tf, 1))
        return Sparse(counts.indices, _single(weights / np.sqrt(weights @ weights)))
    norm = 1 - how.b + how.b * float(tf.sum()) / how.average_length
    if how.variant == "bm25l":
        damped = tf / norm + how.delta
        return Sparse(counts.indices, _single((how.k1 + 1) * damped / (how.k1 + damped)))
    saturated = tf / (tf + how.k1 * norm)
    if how.variant == "atire":
        saturated = (how.k1 + 1) * saturated
    elif how.variant == "bm25_plus":
        saturated = (how.k1 + 1) * saturated + how.delta
    return Sparse(counts.indices, _single(saturated))


def needs_rarity(how: TermWeighting) -> bool:
    """Whether `query_weights` needs to know what the index multiplies by."""
    return how.variant not in ("lucene", "bm25l")


def query_weights(
    counts: Sparse, how: TermWeighting, index_idf: Float[np.ndarray, " terms"], documents: int
) -> Sparse:
    """What a query's terms weigh before the index multiplies them by `index_idf`.

    Terms that weigh nothing are left out.

    Args:
        counts: How often each term occurs in the query.
        how: The weighting.
        index_idf: What the index multiplies each term by; 0 for terms that it does not have.
        documents: How many documents the index holds.
    """
    if not needs_rarity(how):
        return counts
    there = index_idf > 0
    x = index_idf[there].astype(np.float64)
    n = np.maximum((documents + 1) / np.exp(x) - 0.5, 1)
    match how.variant:
        case "robertson":
            rarity = np.maximum(np.log(np.maximum(np.expm1(x), 1e-300)), 0)
        case "bm25_plus":
            rarity = np.log((documents + 1) / n)
        case _:  # atire, tf_idf
            rarity = np.maximum(np.log(documents / n), 0)
    tf = counts.values[there].astype(np.float64)
    if how.variant == "tf_idf":
        wanted = (1 + np.log(np.maximum(tf, 1))) * rarity
        length = np.sqrt(wanted @ wanted)
        wanted = wanted / length if length > 0 else wanted
    else:
        wanted = tf * rarity
    told = wanted > 0
    return Sparse(counts.indices[there][told], _single(wanted[told] / x[told]))


def _single(weights: Float[np.ndarray, " terms"]) -> Float[np.ndarray, " terms"]:
    return weights.astype(np.float32)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.models.blocks.token_interaction import weighted_interaction


def padded(tokens: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units, weights and mask of tokens in an array of so much room."""
    weights = np.linalg.norm(tokens, axis=1)
    count = max(room, len(tokens))
    units, own, mask = np.ones((count, tokens.shape[1])), np.zeros(count), np.zeros(count)
    units[: len(tokens)] = tokens / weights[:, None]
    own[: len(tokens)] = weights
    mask[: len(tokens)] = 1
    return units, own, mask


def plain(query: np.ndarray, document: np.ndarray, words: int, frames: int) -> float:
    """The published code's arithmetic on padded arrays: what is masked is multiplied by 0."""
    (text, a, of_text), (video, b, of_video) = padded(query, words), padded(document, frames)
    matches = np.einsum("td,vd,t,v->tv", text, video, of_text, of_video)
    return float((matches.max(axis=1) @ a + matches.max(axis=0) @ b) / 2)


@given(
    words=st.integers(1, 5), frames=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    rooms=st.tuples(st.integers(0, 6), st.integers(0, 6)), seed=st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_it_is_the_published_arithmetic_without_its_padding(
    words: int, frames: list[int], rooms: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(words, 4))
    documents = [rng.normal(size=(count, 4)) for count in frames]
    made = weighted_interaction(query, documents, query_room=rooms[0], document_room=rooms[1])
    assert made == pytest.approx([plain(query, own, *rooms) for own in documents], abs=1e-5)


def test_padding_lets_no_best_match_be_below_0() -> None:
    query, document = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]])
    assert weighted_interaction(query, [document]) == pytest.approx([-1])
    assert weighted_interaction(query, [document], document_room=2) == pytest.approx([-0.5])
    made = weighted_interaction(query, [document], query_room=2, document_room=2)
    assert made == pytest.approx([0])

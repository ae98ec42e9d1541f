"""Cap4Video's score: shares of two parts, each of which a candidate may lack."""

from collections.abc import Mapping

import numpy as np
import pytest

from tamis.models.blocks.similarity import cosine
from tamis.models.blocks.token_interaction import weighted_interaction
from tamis.models.rerankers.cap4video import Cap4Video
from tamis.models.types import Candidate, Content, Query

RNG = np.random.default_rng(0)
WORDS, TEXT = RNG.normal(size=(3, 4)), RNG.normal(size=4)
FRAMES, CAPTION = RNG.normal(size=(5, 4)), RNG.normal(size=4)
QUERY = Query(Content("a kite"), {"v.words": WORDS, "t.text": TEXT})
RERANKER = Cap4Video(query="v.words", document="v.frames", query_text="t.text", caption="t.caption")


def scores(query: Query, *held: Mapping[str, np.ndarray]) -> list[float]:
    candidates = [Candidate(str(i), 0.0, Content(), own) for i, own in enumerate(held)]
    return list(RERANKER.score(query, candidates))


def test_frames_and_captions_have_the_papers_shares() -> None:
    frames = weighted_interaction(WORDS, [FRAMES], query_room=32, document_room=12)[0]
    caption = cosine(TEXT[None], CAPTION[None])[0, 0]
    made = scores(
        QUERY, {"v.frames": FRAMES, "t.caption": CAPTION}, {"v.frames": FRAMES},
        {"t.caption": CAPTION}, {},
    )  # fmt: skip
    expected = [0.73 * frames + 0.27 * caption, 0.73 * frames, 0.27 * caption, -np.inf]
    assert made == pytest.approx(expected, abs=1e-6)


def test_a_query_without_vectors_puts_no_candidate_before_another() -> None:
    assert scores(Query(Content("a")), {"v.frames": FRAMES}) == [-np.inf]


def test_it_asks_for_the_vectors_of_both_models() -> None:
    assert set(RERANKER.needs) == {"v.words", "v.frames", "t.text", "t.caption"}


def test_a_share_is_no_more_than_all() -> None:
    with pytest.raises(ValueError, match=r"share must be from 0 to 1, not 1\.5"):
        Cap4Video(query="q", document="d", share=1.5)

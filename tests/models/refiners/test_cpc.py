"""CPC, against its formula sentence by sentence; with MiniLM, against a reader's judgement."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from letters import Letters, state

from tamis.models import catalog
from tamis.models.encoders import TokenEncoder, TokenStates
from tamis.models.encoders.minilm import MiniLM
from tamis.models.refiners import TextRefiner
from tamis.models.refiners.cpc import CPC
from tamis.models.types import Content, Query

WORDS = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay"]
SENTENCE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(
    lambda words: " ".join(words).capitalize() + "."
)
TEXT = st.lists(SENTENCE, min_size=1, max_size=8)


def ask(question: str | None) -> Query:
    return Query(Content(text=question))


def mean(text: str) -> list[float]:
    states = [state(word).astype(float).tolist() for word in text.split()]
    return [sum(column) / len(states) for column in zip(*states, strict=True)]


def similarity(question: str, sentence: str) -> float:
    left, right = mean(question), mean(sentence)
    dot = sum(a * b for a, b in zip(left, right, strict=True))
    return dot / math.hypot(*left) / math.hypot(*right)


def extracted(question: str, sentences: list[str], budget: int) -> str:
    """The paper's rule: the most similar, until their tokens and the spaces exceed the budget."""
    scores = [similarity(question, sentence) for sentence in sentences]
    order = sorted(range(len(sentences)), key=lambda i: -scores[i])
    kept, spent = [], 0
    for i in order:
        kept.append(i)
        spent += len(sentences[i].split()) + 1
        if spent > budget:
            break
    return " ".join(sentences[i] for i in sorted(kept))


@given(sentences=TEXT, question=SENTENCE, budget=st.integers(1, 40))
def test_the_sentences_closest_to_the_question_are_kept(
    sentences: list[str], question: str, budget: int
) -> None:
    scores = sorted(similarity(question, sentence) for sentence in sentences)
    assume(all(high - low > 1e-5 for low, high in pairwise(scores)))  # what rounding cannot turn
    text = " ".join(sentences)
    refined = CPC(encoder=Letters(), budget=budget).refine(ask(question), text)
    fits = len(text.split()) <= budget
    assert refined == (text if fits else extracted(question, sentences, budget))


@given(sentences=TEXT, budget=st.integers(1, 20), window=st.integers(1, 12))
def test_what_is_kept_is_an_ordered_subset_and_exceeds_by_one_sentence_at_most(
    sentences: list[str], budget: int, window: int
) -> None:
    refined = CPC(encoder=Letters(window), budget=budget).refine(ask("cat"), " ".join(sentences))
    rest = iter(sentences)
    kept = [part.strip() + "." for part in refined.split(".") if part.strip()]
    assert all(any(sentence == other for other in rest) for sentence in kept)
    longest = max(len(sentence.split()) for sentence in sentences)
    assert len(refined.split()) <= budget + longest


def test_a_text_that_fits_is_left_as_it_is() -> None:
    text = "  Two  sentences.\nAs they were. "
    assert CPC(encoder=Letters(), budget=5).refine(ask("cat"), text) == text


@pytest.mark.parametrize("question", [None, "", "   "])
def test_without_a_question_the_first_sentences_are_kept(question: str | None) -> None:
    text = "Ant bee. Cat dog. Elk fox. Gnu hen."
    assert CPC(encoder=Letters(), budget=5).refine(ask(question), text) == "Ant bee. Cat dog."


def test_the_end_of_a_sentence_longer_than_the_window_counts() -> None:
    """The authors' code drops most of such a sentence."""
    long = "ant " * 8 + "elk " * 30 + "elk."
    text = f"Bee bee bee. {long.capitalize()} Hen hen hen."
    refined = CPC(encoder=Letters(max_tokens=4), budget=2).refine(ask("elk"), text)
    assert refined == long.capitalize()


def test_the_encoder_is_never_given_more_than_it_reads() -> None:
    class Strict(Letters):
        def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
            assert max(self.counts(texts)) <= self.max_tokens
            return super().token_states(texts)

    text = "Ant bee cat. " * 9 + "ant " * 50 + ". Dog elk. " + "x" * 300
    CPC(encoder=Strict(max_tokens=7), budget=3).refine(ask("elk"), text)


def test_sentences_are_read_in_their_context() -> None:
    """Those of one window are given to the encoder as they stand in the text."""
    seen: list[str] = []

    class Noting(Letters):
        def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
            seen.extend(texts)
            return super().token_states(texts)

    text = "Ant bee.  Cat\ndog elk. Fox gnu hen ibis. Jay."
    CPC(encoder=Noting(max_tokens=5), budget=1).refine(ask("jay"), text)
    assert seen == ["jay", "Ant bee.  Cat\ndog elk.", "Fox gnu hen ibis. Jay."]


def test_the_budget_counts_the_encoders_tokens() -> None:
    assert CPC(encoder=Letters()).count("Ant bee. Cat") == 3


def test_the_encoder_is_opened_by_its_name() -> None:
    encoder = Letters()
    opened = catalog.load(
        TextRefiner,
        "cpc",
        {"encoder": "letters", "budget": 9},
        open_as={TokenEncoder: {"letters": encoder}.__getitem__},
    )
    assert opened == CPC(encoder=encoder, budget=9)


def test_with_minilm_the_answer_is_kept(minilm: MiniLM) -> None:
    answer = "The lighthouse was painted red in 1932."
    text = " ".join(
        [
            "Tax forms are due at the end of March.",
            "Sourdough needs flour, water and patience.",
            answer,
            "The committee adjourned without a vote.",
            "Penguins cannot fly, but they swim well.",
        ]
    )
    refiner = CPC(encoder=minilm, budget=8)
    assert answer in refiner.refine(ask("What colour is the lighthouse?"), text)
    assert refiner.count(refiner.refine(ask("What colour is the lighthouse?"), text)) < 30


def test_a_long_text_is_read_whole_with_minilm(minilm: MiniLM) -> None:
    filler = "The committee met again and adjourned without a vote. " * 100
    text = f"{filler}The lighthouse was painted red. {filler}"
    assert CPC(encoder=minilm, budget=5).refine(ask("What colour is the lighthouse?"), text) == (
        "The lighthouse was painted red."
    )
    assert np.isfinite(CPC(encoder=minilm).count(text))

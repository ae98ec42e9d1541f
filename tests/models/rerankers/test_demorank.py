"""DemoRank's two stages of selection, and its prompt to the letter."""

import json
from pathlib import Path

import numpy as np
import pytest
from candidates import QUERY, candidates
from language import Parrot, WordMatch
from letters import Letters

from tamis.models.errors import ModelError
from tamis.models.rerankers.demorank import DemoRank

POOL = [
    {"query": "who flies a kite", "document": "children", "output": "Yes"},
    {"query": "what does a dog do", "document": "it barks", "output": "Yes"},
    {"query": "red bicycle", "document": "a fox does what it likes", "output": "No"},
]


@pytest.fixture
def pool(tmp_path: Path) -> str:
    path = tmp_path / "pool.jsonl"
    path.write_text("\n".join(map(json.dumps, POOL)) + "\n")
    return str(path)


def shown(place: int) -> str:
    one = POOL[place]
    return f"Passage: {one['document']}\nQuery: {one['query']}\nOutput: {one['output']}\n\n"


def test_the_best_demonstrations_come_first(pool: str) -> None:
    """Of those in the pool, by the cross-encoder; before every input."""
    parrot, words = Parrot(), WordMatch()
    DemoRank(model=parrot, demonstrations=pool, ranker=words, shots=2).rerank(QUERY, candidates())
    # Words of "what does a fox do" in them: 2 ("a", and more below), 4, 4 - ties as in the pool.
    counts = [len({*str(QUERY.content.text).split()} & {*shown(i).split()}) for i in range(3)]
    best = sorted(range(3), key=lambda i: (-counts[i], i))[:2]
    expected = "".join(map(shown, best))
    assert parrot.read[0] == (
        f"{expected}Passage: a dog is lazy\nQuery: what does a fox do\nOutput:"
    )
    assert len(words.pairs) == 3  # once a query
    assert all(text.startswith(expected) for text in parrot.read)


def test_each_pair_may_have_its_own(pool: str) -> None:
    words = WordMatch()
    DemoRank(model=Parrot(), demonstrations=pool, ranker=words, shots=1, per_pair=True).rerank(
        QUERY, candidates()
    )
    assert len(words.pairs) == 9
    assert words.pairs[0][0] == "Passage: a dog is lazy\nQuery: what does a fox do\nOutput:"


def test_the_retriever_finds_the_nearest(pool: str) -> None:
    parrot, letters = Parrot(), Letters(max_tokens=40)
    DemoRank(model=parrot, demonstrations=pool, retriever=letters, shots=1, found=1).rerank(
        QUERY, candidates()
    )

    def mean(text: str) -> np.ndarray:
        found = letters.token_states([text])[0].states.mean(axis=0)
        return found / np.linalg.norm(found)

    asked = mean(str(QUERY.content.text))
    best = max(range(3), key=lambda i: float(asked @ mean(shown(i))))
    assert parrot.read[0].startswith(shown(best) + "Passage: a dog is lazy")


def test_a_bad_pool_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        DemoRank(model=Parrot(), demonstrations=str(tmp_path / "none.jsonl"))
    path = tmp_path / "pool.jsonl"
    path.write_text('{"query": "a"}\n')
    with pytest.raises(ModelError, match="a line lacks one of query, document, output"):
        DemoRank(model=Parrot(), demonstrations=str(path))

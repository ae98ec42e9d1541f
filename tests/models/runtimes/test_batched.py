"""Texts of like length run together, and come back in their order."""

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.tokenizer import Tokens


class Sums:
    """A graph that adds up each text's ids, and repeats them."""

    runtime = "numpy"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        ids = (inputs["input_ids"] * inputs["attention_mask"]).astype(np.float32)
        self.shapes.append(ids.shape)
        return {"sum": ids.sum(axis=1, keepdims=True), "ids": ids}


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=40), max_size=12))
def test_each_text_gets_its_own(texts: list[list[int]]) -> None:
    width = max(map(len, texts), default=0)
    ids = np.array([text + [0] * (width - len(text)) for text in texts], dtype=np.int64)
    ids = ids.reshape(len(texts), width)
    session = Sums()
    made = run_texts(session, Tokens(ids, (ids > 0).astype(np.int64), ids * 0), room=64)
    assert [int(one["sum"][0]) for one in made] == [sum(text) for text in texts]
    for one, text in zip(made, texts, strict=True):
        assert one["ids"][: len(text)].tolist() == text
    assert all(rows * length <= 64 or rows == 1 for rows, length in session.shapes)

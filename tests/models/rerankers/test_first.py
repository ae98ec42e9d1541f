"""FIRST: an order from the logits of the first token."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_cases
from language import Parrot
from tiny_models import llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.models.blocks.permutations import by_score
from tamis.models.errors import ModelError
from tamis.models.prompts import Prompts
from tamis.models.rerankers.first import FIRST, LETTERS
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.types import Candidate, Content, Query

QUERY = Query(Content(text="the largest"))
CANDIDATES = [
    Candidate(f"d{n}", 1 - i / 99, Content(text=f"number {n}"))
    for i, n in enumerate([(7 * i) % 12 for i in range(12)])
]
FIRST_SHORT = Prompts(
    "short",
    {
        "before": [],
        "each": [],
        "line": "[{identifier}] {passage}\n",
        "after": [{"role": "user", "text": "{query}\n{passages}"}],
    },
)
SHOWN = re.compile(r"\[([A-Z])\] number (\d+)")


def larger(prompt: str, word: str) -> float:
    return float(dict(SHOWN.findall(prompt)).get(word, -1))


def test_the_best_rise_to_the_top_in_one_token_a_window() -> None:
    model = Parrot(logits=larger)
    ranked = FIRST(model=model, window=4, step=2).rerank(QUERY, CANDIDATES)
    assert [candidate.document_id for candidate in ranked][:2] == ["d11", "d10"]
    assert [c.score for c in ranked] == [c.score for c in CANDIDATES]
    assert len(model.read) == 5
    assert all(read.endswith("[") for read in model.read)


def test_a_letter_counts_by_the_likelier_of_its_tokens() -> None:
    """With a space before it, and without."""
    assert by_score([0, 0, 1, 1], [-3.0, 2.0, 1.0, float("nan")], 2) == (0, 1)


def test_the_order_is_that_of_the_network_s_logits(tmp_path: Path) -> None:
    """And the same documents in other places get the logits of the letters there."""
    folder = llama(tmp_path)
    network, tokenizer = (
        kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    candidates = [Candidate(c, 1.0, Content(text="one text for all")) for c in "pqrs"]
    method = FIRST(
        model=Decoder(Checkpoint(model=str(folder), max_tokens=4096)), window=4, step=2, words=2,
        prompt=FIRST_SHORT, chat=False,
    )  # fmt: skip
    ranked = method.rerank(QUERY, candidates)
    text = "the largest\n[A] one text\n[B] one text\n[C] one text\n[D] one text\n\n["
    with torch.inference_mode():
        logits = network(tokenizer(text, return_tensors="pt").input_ids).logits[0, -1]
    ids = [tokenizer(letter, add_special_tokens=False).input_ids[0] for letter in LETTERS[:4]]
    expected = np.argsort(-logits[ids].numpy(), kind="stable")
    assert [candidate.document_id for candidate in ranked] == ["pqrs"[i] for i in expected]


@pytest.mark.parametrize("case", golden_cases("first_single_token"))
def test_the_order_is_that_of_the_references(case: Path) -> None:
    asked = json.loads((case / "inputs.json").read_text())["cases"]
    expected = json.loads((case / "outputs.json").read_text())
    for given, wanted in zip(asked, expected, strict=True):
        names = LETTERS if given["use_alpha"] else "123456789"
        known = names[: given["window_size"]]
        found = [
            (known.index(token), score)
            for token, score in given["first_token_logprobs"]
            if len(token) == 1 and token in known
        ]
        places, scores = zip(*found, strict=True)
        order = list(by_score(places, scores, given["n"]))
        assert order == wanted["rank_llm_order"], given["name"]
        if len({*places}) == len(places):  # of two values for one letter, FIRST takes the last
            assert order == wanted["first_order"], given["name"]


def test_letters_must_be_tokens() -> None:
    class Spelled(Parrot):
        def token_ids(self, text: str) -> list[int]:
            return [1, 2]

    with pytest.raises(ModelError, match="'A' is no token of the model's"):
        FIRST(model=Spelled()).rerank(QUERY, CANDIDATES)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="window must be from 2 to 26, not 30"):
        FIRST(model=Parrot(), window=30)
    with pytest.raises(ValueError, match="step must be from 1 to the window, not 9"):
        FIRST(model=Parrot(), window=4, step=9)

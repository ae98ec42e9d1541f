"""MiniLM on its published weights, against Hugging Face's own BERT."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertModel

from tamis.models import catalog
from tamis.models.encoders import Encoder, TokenEncoder
from tamis.models.encoders.minilm import MiniLM
from tamis.models.errors import ModelError
from tamis.models.export.minilm import packaged
from tamis.models.runtimes.tokenizer import Tokenizer
from tamis.models.types import Content, Encoding, Kind, Side

TEXTS = [
    "A red bicycle leans on a wall.",
    "Zwei Äpfel, 東京 & naïve café — 3.14!",
    "x",
    "The quick brown fox jumps over the lazy dog. " * 40,
]


def encoded(minilm: MiniLM, *texts: str) -> list[Encoding]:
    return minilm.encode([Content(text=text) for text in texts], Side.DOCUMENT)


def dense(minilm: MiniLM, text: str) -> np.ndarray:
    (encoding,) = encoded(minilm, text)
    made = encoding.heads["dense"]
    assert isinstance(made, np.ndarray)
    return made


def test_its_states_are_those_of_transformers(minilm: MiniLM) -> None:
    source = packaged()
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = BertModel.from_pretrained(source, attn_implementation="eager")
    model.train(mode=False)
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        expected = model(**batch).last_hidden_state.numpy()
    mask = batch["attention_mask"].numpy()
    for text, states, there in zip(TEXTS, expected, mask, strict=True):
        (made,) = minilm.token_states([text])
        real = states[there == 1]
        assert np.abs(made.states - real[1:-1]).max() <= 1e-4
        mean = real.mean(axis=0) / np.linalg.norm(real.mean(axis=0))
        assert dense(minilm, text) @ mean >= 0.9999
        assert np.abs(dense(minilm, text) - mean).max() <= 1e-5


def test_its_tokens_are_those_of_transformers(minilm_folder: Path) -> None:
    expected = AutoTokenizer.from_pretrained(packaged())(TEXTS, truncation=True, max_length=256)
    made = Tokenizer.open(minilm_folder, max_length=256).encode(TEXTS)
    for ids, length, own in zip(made.input_ids, made.lengths, expected["input_ids"], strict=True):
        assert ids[:length].tolist() == own


def test_a_text_is_encoded_alone_as_in_a_batch(minilm: MiniLM) -> None:
    for text, together in zip(TEXTS, encoded(minilm, *TEXTS), strict=True):
        (alone,) = encoded(minilm, text)
        for head, made in alone.heads.items():
            assert np.abs(made - together.heads[head]).max() <= 1e-5  # type: ignore[operator]


def test_like_sentences_are_close(minilm: MiniLM) -> None:
    bicycle, bike = dense(minilm, "a red bicycle"), dense(minilm, "a bike painted red")
    assert bicycle @ bike > 0.8
    assert bicycle @ dense(minilm, "quarterly tax returns") < 0.2


def test_its_heads_are_what_it_makes(minilm: MiniLM) -> None:
    (encoding,) = encoded(minilm, "a red bicycle")
    assert encoding.heads.keys() == minilm.heads.keys() == {"dense", "tokens"}
    assert [head.kind for head in minilm.heads.values()] == [Kind.DENSE, Kind.MULTI]
    assert {head.space for head in minilm.heads.values()} == {"all-MiniLM-L6-v2"}
    shapes = {name: np.shape(value) for name, value in encoding.heads.items()}  # type: ignore[arg-type]
    assert shapes == {"dense": (384,), "tokens": (3, 384)}
    for value in encoding.heads.values():
        assert isinstance(value, np.ndarray)
        assert np.allclose(np.linalg.norm(value, axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("text", ["", "   ", "\n\u200b"])
def test_a_text_without_tokens_has_no_token_vectors(minilm: MiniLM, text: str) -> None:
    (encoding,) = encoded(minilm, text)
    assert encoding.heads.keys() == {"dense"}
    assert minilm.token_states([text])[0].states.shape == (0, 384)


def test_offsets_lead_back_to_the_text(minilm: MiniLM) -> None:
    text = "Ein  Äpfel: rot"
    (tokens,) = minilm.token_states([text])
    assert len(tokens.offsets) == len(tokens.states)
    assert "".join(text[start:end] for start, end in tokens.offsets) == "EinÄpfel:rot"


def test_what_it_does_not_read_is_known(minilm: MiniLM) -> None:
    fits, exceeds = "word " * minilm.max_tokens, "word " * (minilm.max_tokens + 1)
    assert minilm.max_tokens == 254
    assert minilm.counts([fits, exceeds]) == [254, 255]
    assert not minilm.truncates(Content(text=fits))
    assert minilm.truncates(Content(text=exceeds))
    assert len(minilm.token_states([exceeds])[0].states) == 254
    assert np.array_equal(dense(minilm, exceeds), dense(minilm, exceeds + " unread"))


def test_the_cost_follows_the_length_up_to_what_is_read(minilm: MiniLM) -> None:
    costs = [minilm.cost(Content(text="word " * n)) for n in (0, 10, 100, 1000, 10_000)]
    assert costs == sorted(costs)
    assert costs[0] == 2
    assert costs[-1] == 256


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.text())
def test_any_text_has_a_unit_embedding(minilm: MiniLM, text: str) -> None:
    assert np.linalg.norm(dense(minilm, text)) == pytest.approx(1, abs=1e-5)


def test_it_opens_from_settings_and_says_what_runs_it(minilm_folder: Path) -> None:
    encoder = catalog.load(Encoder, "minilm", {"folder": str(minilm_folder), "threads": 1})
    assert isinstance(encoder, TokenEncoder)
    assert encoder.runtime.startswith("onnxruntime ")
    assert encoder.fingerprint == MiniLM(folder=str(minilm_folder)).fingerprint
    assert len(encoder.fingerprint) == 16


def test_a_missing_folder_is_named_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone/model\.toml: no such file"):
        catalog.load(Encoder, "minilm", {"folder": str(tmp_path / "gone")})

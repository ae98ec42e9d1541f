"""Encoder-decoders on ONNX Runtime, against the same checkpoint on torch.

Tracing takes most of the time, so the graphs are those of one layer; a network of two runs as it
is, under the same serving code.
"""

from pathlib import Path

import numpy as np
import pytest
import tiny_models
from candidates import QUERY, candidates, order
from engines import build_engines
from torch_session import Kept

from tamis.models.errors import InputError
from tamis.models.export import checkpoint as export
from tamis.models.export import exporting, seq2seq
from tamis.models.rerankers.monot5 import MonoT5
from tamis.models.rerankers.rankt5 import RankT5
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.hf.encoder_decoder import EncoderDecoder
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.language import LanguageModel, Message, Prompt
from tamis.models.runtimes.onnx_encoder_decoder import (
    METHOD,
    EncoderDecoderRecipe,
    OnnxEncoderDecoder,
)
from tamis.models.runtimes.opening import ModelOpener
from tamis.models.runtimes.texts import Texts
from tamis.models.runtimes.usage import metered

IDS = [5, 6, 300]
PROMPTS = [
    Prompt(text="Query: what does a fox do? Document: it jumps. Relevant:"),
    Prompt(prefix="two ", text="kites", answer="Passage"),
    Prompt(text="a red bicycle"),
    Prompt(text="a red bicycle and two kites"),
]
SPANS = ["it jumps over", "", "Yes", " the lazy dog"]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs of one layer, beside their checkpoint."""
    folder = tmp_path_factory.mktemp("traced")
    saved = tiny_models.t5(folder / "t5", layers=1)
    return exporting.export(saved, folder / "served", method="seq2seq").path


@pytest.fixture(scope="module", params=["graphs", "networks"])
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[OnnxEncoderDecoder, EncoderDecoder]:
    """What is served and what it is compared with."""
    if request.param == "graphs":
        out: Path = request.getfixturevalue("traced")
        opened = ModelOpener(threads=1).openers[LanguageModel]({"folder": str(out), "room": 60})
        assert isinstance(opened, OnnxEncoderDecoder)
        saved = out.parent / "t5"
        return opened, EncoderDecoder(Checkpoint(model=str(saved), device="cpu"))
    folder = tmp_path_factory.mktemp("models")
    saved = tiny_models.t5(folder / "t5", layers=2)
    draft = Kept(folder)
    recipe = seq2seq.export(export.Checkpoint.open(saved), draft)
    texts = Texts.of((folder / "tokenizer.json").read_text())
    served = OnnxEncoderDecoder(recipe=recipe, texts=texts, room=60, **draft.sessions)
    return served, EncoderDecoder(Checkpoint(model=str(saved), device="cpu"))


@pytest.fixture
def found(models: tuple[OnnxEncoderDecoder, EncoderDecoder]) -> OnnxEncoderDecoder:
    return models[0]


@pytest.fixture
def expected(models: tuple[OnnxEncoderDecoder, EncoderDecoder]) -> EncoderDecoder:
    return models[1]


def test_the_next_token_has_the_logits_of_torch(
    found: OnnxEncoderDecoder, expected: EncoderDecoder
) -> None:
    logits = expected.token_logits(PROMPTS, IDS)
    assert found.token_logits(PROMPTS, IDS) == pytest.approx(logits, rel=1e-4, abs=1e-4)
    shares = expected.token_log_probabilities(PROMPTS, IDS)
    together = found.token_log_probabilities(PROMPTS, IDS)
    assert together == pytest.approx(shares, rel=1e-4, abs=1e-4)
    for own, prompt in zip(together, PROMPTS, strict=True):
        alone = found.token_log_probabilities([prompt], IDS)[0]
        assert own == pytest.approx(alone, rel=1e-5, abs=1e-4)


def test_a_span_is_told_token_by_token(found: OnnxEncoderDecoder, expected: EncoderDecoder) -> None:
    told = expected.span_log_likelihoods(PROMPTS, SPANS)
    for own, other in zip(found.span_log_likelihoods(PROMPTS, SPANS), told, strict=True):
        assert own.shape == other.shape
        assert own == pytest.approx(other, rel=1e-4, abs=1e-4)


def test_answers_are_those_of_torch_and_may_begin_differently(
    found: OnnxEncoderDecoder, expected: EncoderDecoder
) -> None:
    with metered() as usage:
        together = found.generate(PROMPTS, max_tokens=5)
    assert together == [expected.generate([prompt], max_tokens=5)[0] for prompt in PROMPTS]
    assert usage.calls == len(PROMPTS)


def test_rerankers_score_as_on_torch(found: OnnxEncoderDecoder, expected: EncoderDecoder) -> None:
    models: list[LanguageModel] = [found, expected]
    for method in (MonoT5, RankT5):
        own, other = (method(model=model).rerank(QUERY, candidates()) for model in models)
        assert order(own) == order(other)
        scores = np.array([one.score for one in other])
        close = 1e-4 * max(1, np.abs(scores).max())  # RankT5's are logits, of any size
        assert [one.score for one in own] == pytest.approx(scores, abs=close)


def test_what_it_cannot_read_is_refused(found: OnnxEncoderDecoder) -> None:
    with pytest.raises(InputError, match="not images or conversations"):
        found.token_logits([Prompt(messages=(Message("user", "x"),))], IDS)
    with pytest.raises(InputError, match="tokens; the model reads 512"):
        found.token_logits([Prompt(text="word " * 600)], IDS)


def test_tensorrt_builds_its_engines(traced: Path) -> None:
    build_engines(ModelFolder.open(traced, EncoderDecoderRecipe, METHOD))

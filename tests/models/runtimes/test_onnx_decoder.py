"""Decoders on ONNX Runtime, against the same checkpoints on torch.

Tracing takes most of the time, so one graph (of a Llama with fewer heads of keys than of queries)
is made for the file; the other networks run as they are, under the same serving code.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from candidates import QUERY, candidates, order
from engines import build_engines
from torch_session import Kept

from tamis.models.errors import InputError, ModelError
from tamis.models.export import causal_lm, exporting
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Options
from tamis.models.prompts import Prompts
from tamis.models.rerankers.first import FIRST
from tamis.models.rerankers.tsarankllm import TSARankLLM
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import Checkpoint as HfCheckpoint
from tamis.models.runtimes.language import LanguageModel, Message, Prompt
from tamis.models.runtimes.onnx_decoder import METHOD, DecoderRecipe, OnnxDecoder
from tamis.models.runtimes.opening import ModelOpener
from tamis.models.runtimes.texts import Texts
from tamis.models.runtimes.usage import metered

IDS = [5, 6, 300]
FOX = "the quick brown fox jumps over the lazy dog"
PROMPTS = [
    Prompt(prefix=FOX, text=" Query:"),
    Prompt(prefix=FOX, text=" what does a lazy fox do?", answer=" it"),
    Prompt(text="two kites"),
    Prompt(prefix="a red bicycle"),
    Prompt(text=FOX),
]
SHORT = Prompts(
    "short",
    {
        "before": [],
        "each": [],
        "line": "[{identifier}] {passage}\n",
        "after": [{"role": "user", "text": "{query}\n{passages}"}],
    },
)
SPANS = [" what does it do?", " jumps", "", " Yes or No", " a"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def folder(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("served") / "llama"
    return exporting.export(llama, out, method="causal_lm").path


def untraced(saved: Path, drafted: Path, **settings: Any) -> OnnxDecoder:
    """The serving code over the network itself."""
    draft = Kept(drafted)
    recipe = causal_lm.export(Checkpoint.open(saved), draft)
    texts = Texts.of(
        (drafted / "tokenizer.json").read_text(), start_token=recipe.start_token or None
    )
    return OnnxDecoder(recipe=recipe, texts=texts, session=draft.sessions["decoder"], **settings)


def on_torch(saved: Path) -> Decoder:
    return Decoder(HfCheckpoint(model=str(saved), device="cpu", cache_bytes=0))


def check_readouts(found: OnnxDecoder, expected: Decoder) -> None:
    """Twice, so that prefixes are there the second time."""
    for _ in range(2):
        logits = expected.token_logits(PROMPTS, IDS)
        assert found.token_logits(PROMPTS, IDS) == pytest.approx(logits, abs=1e-4)
        shares = expected.token_log_probabilities(PROMPTS, IDS)
        assert found.token_log_probabilities(PROMPTS, IDS) == pytest.approx(shares, abs=1e-4)
        spans = expected.span_log_likelihoods(PROMPTS, SPANS)
        for own, other in zip(found.span_log_likelihoods(PROMPTS, SPANS), spans, strict=True):
            assert own.shape == other.shape
            assert own == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_a_graph_reads_as_the_network_does(llama: Path, folder: Path, cache_bytes: int) -> None:
    found = OnnxDecoder.open(folder, threads=1, cache_bytes=cache_bytes, room=60)
    check_readouts(found, on_torch(llama))


@pytest.mark.parametrize("save", [tiny_models.gpt2, tiny_models.gemma3])
def test_other_networks_are_read_the_same_way(save: Any, tmp_path: Path) -> None:
    """With learned positions and no token that begins a text; with windows of 8 tokens."""
    saved = save(tmp_path / "saved")
    found, expected = untraced(saved, tmp_path), on_torch(saved)
    check_readouts(found, expected)
    assert found.generate(PROMPTS, max_tokens=12) == expected.generate(PROMPTS, max_tokens=12)


def test_answers_are_those_of_torch_and_do_not_depend_on_their_company(
    llama: Path, folder: Path
) -> None:
    found = OnnxDecoder.open(folder, threads=1)
    together = found.generate(PROMPTS, max_tokens=8)
    assert together == on_torch(llama).generate(PROMPTS, max_tokens=8)
    assert together == [found.generate([prompt], max_tokens=8)[0] for prompt in PROMPTS]
    mark = together[0][2:4]
    assert found.generate(PROMPTS[:1], max_tokens=8, stop=[mark]) == [together[0].split(mark)[0]]
    assert found.generate(PROMPTS, max_tokens=0) == [""] * len(PROMPTS)


def test_a_row_that_has_ended_is_let_go(llama: Path, tmp_path: Path) -> None:
    """One answer ends at once, by its own token; the others go on as they would alone."""
    found = untraced(llama, tmp_path)
    first = int(np.argmax(found.token_logits(PROMPTS[2:3], range(416))[0]))
    ending = replace(found, recipe=replace(found.recipe, end_ids=(first,)))
    with metered() as usage:
        alone = [ending.generate([prompt], max_tokens=6)[0] for prompt in PROMPTS[2:]]
    assert ending.generate(PROMPTS[2:], max_tokens=6) == alone
    assert alone[0] == found.generate(PROMPTS[2:3], max_tokens=1)[0]
    assert usage.calls == 3  # one a prompt, however many tokens are written


def test_a_prefix_is_read_once_and_states_stay_within_their_bytes(
    llama: Path, tmp_path: Path
) -> None:
    found = untraced(llama, tmp_path, cache_bytes=30_000)
    found.token_logits([Prompt(prefix=FOX, text=" a")], IDS)
    with metered() as usage:
        found.token_logits([Prompt(prefix=FOX, text=" two kites")], IDS)
    tail = found.counts([" two kites"])[0] + 1  # the prefix's last token is read again
    assert (usage.calls, usage.tokens) == (1, tail)
    for i in range(20):
        found.token_logits([Prompt(prefix=f"{FOX} number {i}", text=" ?")], IDS)
        assert 0 < found._prefixes._bytes <= 30_000


def test_conversations_are_written_as_transformers_writes_them(llama: Path, tmp_path: Path) -> None:
    found, expected = untraced(llama, tmp_path), on_torch(llama)
    turns = (Message("system", "Yes or No"), Message("user", "a</s><s>fox</s>?"))
    prompt = Prompt(messages=turns, answer=" it")
    assert found._row(prompt).ids == expected._row(prompt).ids
    assert found.token_ids("</s>") == expected.token_ids("</s>")
    plain = replace(found, recipe=replace(found.recipe, chat_template=""))
    with pytest.raises(InputError, match="has no chat template"):
        plain.token_logits([prompt], IDS)


def test_rerankers_score_as_on_torch(llama: Path, folder: Path) -> None:
    opened = ModelOpener(threads=1).openers[LanguageModel](str(folder))
    assert isinstance(opened, OnnxDecoder)
    models: list[LanguageModel] = [opened, on_torch(llama)]
    found, expected = (TSARankLLM(model=model).rerank(QUERY, candidates()) for model in models)
    assert order(found) == order(expected)
    scores = [one.score for one in expected]
    assert [one.score for one in found] == pytest.approx(scores, abs=1e-4)
    letters = [
        FIRST(model=model, prompt=SHORT, max_tokens=240, window=3, step=2) for model in models
    ]
    found, expected = (first.rerank(QUERY, candidates()) for first in letters)
    assert order(found) == order(expected)


def test_what_it_cannot_read_is_refused(llama: Path, folder: Path, tmp_path: Path) -> None:
    found = untraced(llama, tmp_path)
    with pytest.raises(InputError, match=r"\d+ tokens and 3 for the answer; the model reads 256"):
        found.generate([Prompt(text="word " * 99)], max_tokens=3)
    with pytest.raises(ValueError, match="cache_bytes must be at least 0, not -1"):
        replace(found, cache_bytes=-1)
    openers = ModelOpener().openers
    with pytest.raises(ModelError, match=r"no such file: .* is not a model folder"):
        openers[LanguageModel]({"folder": str(tmp_path)})
    (tmp_path / "model.toml").write_text('method = "minilm"\n')
    with pytest.raises(ModelError, match="method: 'minilm' is no language model"):
        openers[LanguageModel](str(tmp_path))
    options = Options(settings={"max_tokens": "257"})
    with pytest.raises(ModelError, match="max_tokens: '257' is not a number from 1 to 256"):
        causal_lm.export(Checkpoint.open(llama), Kept(tmp_path, options))


def test_tensorrt_builds_its_engine(folder: Path) -> None:
    build_engines(ModelFolder.open(folder, DecoderRecipe, METHOD))

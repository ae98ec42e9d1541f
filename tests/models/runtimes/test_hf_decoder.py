"""Decoders on torch, against transformers' own forward pass on whole rows, one at a time."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    LlavaForConditionalGeneration,
)

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.language import Message, Prompt
from tamis.models.runtimes.usage import metered

IDS = [5, 6, 300]
FOX = "the quick brown fox jumps over the lazy dog"
PROMPTS = [
    Prompt(prefix=FOX, text=" Query:"),
    Prompt(prefix=FOX, text=" what does a lazy fox do?", answer=" it"),
    Prompt(text="two kites"),
    Prompt(prefix="a red bicycle"),
]


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    save: Any = getattr(tiny_models, request.param)
    saved: Path = save(tmp_path_factory.mktemp("models") / request.param)
    return saved


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llava(tmp_path_factory.mktemp("models") / "llava")


def opened(folder: Path, **settings: Any) -> Decoder:
    return Decoder(Checkpoint(model=str(folder), device="cpu", **settings))


@cache
def reference(folder: Path) -> tuple[Any, Any]:
    """Network and tokenizer, as transformers opens them."""
    network: Any = AutoModelForCausalLM.from_pretrained(folder)
    return network.eval(), AutoTokenizer.from_pretrained(folder)


def whole(folder: Path, prompt: Prompt, span: str = "") -> torch.Tensor:
    """The logits at every position of prompt and span, by transformers alone."""
    network, tokenizer = reference(folder)
    ids = tokenizer("").input_ids
    for part in (prompt.prefix, prompt.text, prompt.answer, span):
        ids += tokenizer(part, add_special_tokens=False).input_ids
    with torch.no_grad():
        logits: torch.Tensor = network(torch.tensor([ids])).logits[0]
    return logits.float()


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_the_next_token_has_the_logits_of_the_whole_prompt(folder: Path, cache_bytes: int) -> None:
    """Whether it was batched, read after a kept prefix, or both; also the second time."""
    decoder = opened(folder, cache_bytes=cache_bytes)
    expected = np.array([whole(folder, prompt)[-1][IDS].numpy() for prompt in PROMPTS])
    for _ in range(2):
        assert decoder.token_logits(PROMPTS, IDS) == pytest.approx(expected, abs=1e-5)
    normalised = np.array([whole(folder, p)[-1].log_softmax(-1)[IDS].numpy() for p in PROMPTS])
    assert decoder.token_log_probabilities(PROMPTS, IDS) == pytest.approx(normalised, abs=1e-5)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_a_span_has_the_likelihood_of_its_tokens(folder: Path, cache_bytes: int) -> None:
    """Which is what cross-entropy over the span is made of."""
    decoder = opened(folder, cache_bytes=cache_bytes, room=40)
    spans = [" what does it do?", " jumps", "", " Yes or No"]
    expected = []
    for prompt, span in zip(PROMPTS, spans, strict=True):
        ids = decoder.token_ids(span)
        logits = whole(folder, prompt, span)[-len(ids) - 1 : -1] if ids else torch.empty(0, 1)
        told = torch.tensor(ids, dtype=torch.long)
        losses = torch.nn.functional.cross_entropy(logits, told, reduction="none")
        expected.append(-losses.numpy())
    for _ in range(2):
        found = decoder.span_log_likelihoods(PROMPTS, spans)
        for own, by_hand in zip(found, expected, strict=True):
            assert own == pytest.approx(by_hand, abs=2e-5)


def test_an_answer_does_not_depend_on_its_company(folder: Path) -> None:
    decoder = opened(folder)
    together = decoder.generate(PROMPTS, max_tokens=6)
    assert together == [decoder.generate([prompt], max_tokens=6)[0] for prompt in PROMPTS]
    ids = decoder._reading.texts.ids(PROMPTS[2].text)  # greedy, token by token
    written = [*decoder._reading.texts.start, *ids]
    network, _ = reference(folder)
    for _ in range(6):
        with torch.no_grad():
            written.append(int(network(torch.tensor([written])).logits[0, -1].argmax()))
        if written[-1] == 2:
            break
    assert together[2] == decoder._reading.texts.text(written[-6:])


def test_a_prefix_is_read_once(tmp_path: Path) -> None:
    decoder = opened(tiny_models.llama(tmp_path / "llama"))
    prompts = [Prompt(prefix=FOX, text=text) for text in (" a", " red", " bicycle")]
    with metered() as usage:
        decoder.token_logits(prompts, IDS)
    before = usage.tokens
    with metered() as usage:
        decoder.token_logits([Prompt(prefix=FOX, text=" two kites")], IDS)
    tail = len(decoder.token_ids(" two kites")) + 1  # the prefix's last token is read again
    assert (usage.calls, usage.tokens) == (1, tail)
    assert before < 3 * len(decoder.token_ids(FOX))


def test_states_are_kept_within_their_bytes(tmp_path: Path) -> None:
    folder = tiny_models.llama(tmp_path / "llama")
    decoder = opened(folder, cache_bytes=30_000)
    for i in range(20):
        decoder.token_logits([Prompt(prefix=f"{FOX} number {i}", text=" ?")], IDS)
        assert 0 < decoder._prefixes._bytes <= 30_000


def test_a_conversation_is_written_in_the_template_and_special_tokens_are_text(
    tmp_path: Path,
) -> None:
    decoder = opened(tiny_models.llama(tmp_path / "llama"))
    turns = (Message("system", "Yes or No"), Message("user", "a</s><s>fox</s>?"))
    row = decoder._row(Prompt(messages=turns, answer=" it"))
    texts = decoder._reading.texts
    marks = {text: texts.plain.token_to_id(text) for text in tiny_models.MARKS}
    assert row.ids == [
        marks["<s>"], marks["<|system|>"], *texts.ids("Yes or No"), marks["</s>"],
        marks["<|user|>"], *texts.ids("afox?"), marks["</s>"], marks["<|assistant|>"],
        *texts.ids(" it"),
    ]  # fmt: skip
    assert marks["</s>"] not in decoder._row(Prompt(text="a</s>")).ids
    assert decoder.token_ids("</s>") == [marks["</s>"]]


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    decoder = opened(tiny_models.llama(tmp_path / "llama"), max_tokens=30)
    with pytest.raises(InputError, match=r"\d+ tokens and 0 for the answer; the model reads 30"):
        decoder.token_logits([Prompt(text="word " * 60)], IDS)
    with pytest.raises(InputError, match="images, and the model reads none"):
        decoder.token_logits([Prompt(images=(picture(0),), text="?")], IDS)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be opened"):
        opened(tmp_path)
    with pytest.raises(ValueError, match="dtype must be one of float32"):
        Checkpoint(model="x", dtype="int3")


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def seen(folder: Path, text: str, images: list[Image.Image]) -> np.ndarray:
    """The logits of the next token, by transformers' own processor and forward pass."""
    kind: Any = AutoProcessor
    processor = kind.from_pretrained(folder)
    network: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    inputs = processor(text=text, images=images, return_tensors="pt")
    with torch.no_grad():
        logits: np.ndarray = network.eval()(**inputs).logits[0, -1].numpy()
    return logits


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_a_model_that_sees_reads_images_and_texts_together(llava: Path, cache_bytes: int) -> None:
    """One image, two, and none; alone and in a batch; with the state of the image kept or not."""
    decoder = Decoder(
        Checkpoint(model=str(llava), device="cpu", cache_bytes=cache_bytes), sees=True
    )
    one, other = picture(1), picture(2)
    prompts = [
        Prompt(images=(one,), prefix="A fox.", text=" what?"),
        Prompt(images=(one,), prefix="A fox.", text=" does it jump over the dog?"),
        Prompt(images=(other,), text="two kites"),
        Prompt(images=(one, other), messages=(Message("user", "which?"),)),
        Prompt(text="no picture"),
    ]
    raw = [
        ("<image>A fox. what?", [one]),
        ("<image>A fox. does it jump over the dog?", [one]),
        ("<image>two kites", [other]),
        ("<|user|><image><image>which?</s><|assistant|>", [one, other]),
    ]
    expected = [seen(llava, text, images)[IDS] for text, images in raw]
    for _ in range(2):
        found = decoder.token_logits(prompts, IDS)
        assert found[:4] == pytest.approx(np.array(expected), abs=1e-4)
        assert found[4] == pytest.approx(decoder.token_logits(prompts[4:], IDS)[0], abs=1e-5)


def test_an_image_is_looked_at_once(llava: Path) -> None:
    decoder = Decoder(Checkpoint(model=str(llava), device="cpu"), sees=True)
    for chat in (False, True):
        asked = [
            Prompt(images=(picture(3),), messages=(Message("user", text),))
            if chat
            else Prompt(images=(picture(3),), text=text)
            for text in ("what?", "which?")
        ]
        decoder.token_logits(asked[:1], IDS)
        with metered() as usage:
            decoder.token_logits(asked[1:], IDS)
        assert usage.tokens < 4 + 4 + 2  # less than the image's own tokens and the question's

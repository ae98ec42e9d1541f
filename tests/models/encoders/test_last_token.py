"""GME, VLM2Vec and DSE as they are served, against transformers' Qwen2-VL on the same prompts.

Slower than other tests: torch takes seconds to trace the two graphs, once for all three.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import build_engines
from PIL import Image
from tiny_vlm import QWEN2_SPECIAL, QWEN2_VL, byte_tokenizer, scattered, write_checkpoint
from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.errors import SettingsError
from tamis.models.export import dse, vlm2vec
from tamis.models.export.exporting import export
from tamis.models.export.writer import drafted, seal
from tamis.models.runtimes.folder import NAME, ModelFolder
from tamis.models.runtimes.last_token import LastTokenEncoder
from tamis.models.runtimes.prompted import PromptedRecipe
from tamis.models.types import Content, Side

SMALL: dict[str, Any] = {"min_pixels": 4 * 784, "max_pixels": 64 * 784}
NOISE = Image.effect_noise((75, 140), 60).convert("RGB")
SLOPE = Image.linear_gradient("L").resize((150, 64)).convert("RGB")
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
GME_CHAT = (
    "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    "<|endoftext|>"
)
PLAIN = "You are a helpful assistant."


@pytest.fixture(scope="module")
def reference() -> Qwen2VLModel:
    model = Qwen2VLModel(Qwen2VLConfig(**QWEN2_VL))
    model.load_state_dict(scattered(model))
    model.train(mode=False)
    return model


@pytest.fixture(scope="module")
def gme_folder(reference: Qwen2VLModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model exported as a GME; the names are those of the published checkpoints."""
    folder = tmp_path_factory.mktemp("gme")
    keys = {
        key.replace("language_model.", "model.", 1): value
        for key, value in reference.state_dict().items()
    }
    keys["lm_head.weight"] = keys["model.embed_tokens.weight"].clone()
    source = write_checkpoint(folder / "gme-tiny", QWEN2_VL, keys, byte_tokenizer(QWEN2_SPECIAL))
    return export(source, folder / "served", method="gme").path


@pytest.fixture
def opened(gme_folder: Path, tmp_path: Path) -> Callable[..., LastTokenEncoder]:
    """The same graphs under another recipe, with pictures small enough for a test."""

    def make(method: str = "gme", settings: dict[str, Any] | None = None, **recipe: Any) -> Any:
        model = ModelFolder.open(gme_folder, PromptedRecipe, "gme")
        patching = model.recipe.patching
        assert patching is not None
        said: dict[str, Any] = {"patching": replace(patching, **SMALL), "method": method} | recipe
        with drafted(tmp_path / "changed") as draft:
            for name in model.recipe.files:
                shutil.copy(gme_folder / name, draft / name)
            path = seal(draft, tmp_path / "changed", replace(model.recipe, **said)).path
        return catalog.load(Encoder, method, {"folder": str(path)} | (settings or {}))

    return make


@torch.no_grad()
def told(
    model: Qwen2VLModel,
    prompts: Sequence[str],
    images: Sequence[Image.Image],
    *,
    padding_side: str = "left",
    **bounds: Any,
) -> np.ndarray:
    """What the library makes of prompts in one batch, each picture's tokens written out."""
    low, high = bounds.get("min_pixels", 4 * 784), bounds.get("max_pixels", 64 * 784)
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": low, "longest_edge": high})
    seen = processor(images=list(images), return_tensors="pt") if images else {}
    grids = iter(seen.get("image_grid_thw", ()))
    parts = [prompt.split("<|image_pad|>") for prompt in prompts]
    whole = [
        part[0] if len(part) == 1 else ("<|image_pad|>" * int(next(grids).prod() // 4)).join(part)
        for part in parts
    ]
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=byte_tokenizer(QWEN2_SPECIAL),
        pad_token="<|box|>",
        padding_side=padding_side,
    )
    batch = tokenizer(whole, padding=True, return_tensors="pt")
    pictured = {"mm_token_type_ids": (batch["input_ids"] == QWEN2_VL["image_token_id"]).int()}
    model.rope_deltas = None  # of an earlier batch, which would be added to this one's positions
    states = model(**batch, **seen, **(pictured if images else {})).last_hidden_state
    order = torch.arange(states.shape[1]) * batch["attention_mask"]
    last = states[torch.arange(len(states)), order.argmax(dim=1)]
    return torch.nn.functional.normalize(last, dim=-1).numpy()


def embeddings(encoder: Encoder, side: Side, *contents: Content) -> np.ndarray:
    made: list[Any] = [encoding.heads["dense"] for encoding in encoder.encode(contents, side)]
    return np.stack(made)


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_gme_is_the_librarys_model_on_the_authors_prompts(
    opened: Callable[..., LastTokenEncoder], reference: Qwen2VLModel, padding_side: str
) -> None:
    contents = [
        Content(text="Welche Brücke ist länger?", instruction="Find a page."),
        Content(image=NOISE),
        Content(text="a slope", image=SLOPE, instruction="Find what is like it."),
        Content(text="x"),
    ]
    bodies = [contents[0].text, IMAGE, f"{IMAGE}a slope", "x"]
    for side in Side:
        asked = [c.instruction if side is Side.QUERY else None for c in contents]
        prompts = [
            GME_CHAT.format(wanted or PLAIN, body)
            for wanted, body in zip(asked, bodies, strict=True)
        ]
        expected = told(reference, prompts, [NOISE, SLOPE], padding_side=padding_side)
        made = embeddings(opened(), side, *contents)
        assert made.dtype == np.float32
        assert np.abs(made - expected).max() <= 1e-5


def test_vlm2vec_has_no_chat_around_its_instruction(
    opened: Callable[..., LastTokenEncoder], reference: Qwen2VLModel
) -> None:
    recipe = {
        "templates": {f"query_{kind}": part for kind, part in vlm2vec.PARTS.items()},
        "instructions": {"query_image": vlm2vec.SEEN, "query_both": vlm2vec.ASKED},
    }
    contents = [
        Content(text="a cat"),
        Content(image=NOISE),
        Content(text="What is it?", image=SLOPE),
        Content(text="a cat", instruction="Find a picture:"),
    ]
    prompts = [
        "a cat",
        "<|image_pad|> Represent the given image.",
        "<|image_pad|> Represent the given image with the following question: What is it?",
        "Find a picture: a cat",
    ]
    expected = told(reference, prompts, [NOISE, SLOPE])
    made = embeddings(opened("vlm2vec", **recipe), Side.QUERY, *contents)
    assert np.abs(made - expected).max() <= 1e-5


def test_dse_reads_a_text_with_a_blank_picture(
    opened: Callable[..., LastTokenEncoder], reference: Qwen2VLModel
) -> None:
    bounds: dict[str, Any] = {"min_pixels": 784, "max_pixels": 2560 * 784}
    patching = opened()._model.recipe.patching
    assert patching is not None
    encoder = opened(
        "dse",
        templates=dse.templates(),
        instructions={},
        blank=28,
        patching=replace(patching, side=100, **bounds),
    )
    prompts = [
        GME_CHAT.format(PLAIN, f"{IMAGE}Query: a cat"),
        GME_CHAT.format(PLAIN, f"{IMAGE}What is shown in this image?"),
    ]
    images = [Image.new("RGB", (28, 28)), NOISE.resize((112, 112), Image.Resampling.BICUBIC)]
    expected = told(reference, prompts, images, **bounds)
    made = embeddings(encoder, Side.QUERY, Content(text="a cat"), Content(image=NOISE))
    assert np.abs(made - expected).max() <= 1e-5


def test_the_first_dimensions_are_an_embedding(opened: Callable[..., LastTokenEncoder]) -> None:
    content = Content(text="a cat")
    (whole,), (cut,) = (
        embeddings(opened(settings=settings), Side.QUERY, content) for settings in ({}, {"dim": 8})
    )
    assert cut == pytest.approx(whole[:8] / np.linalg.norm(whole[:8]), abs=1e-6)
    assert opened(settings={"dim": 8}).heads["dense"].dim == 8
    assert len({opened(settings={"dim": n}).fingerprint for n in (0, 8, 9)}) == 3
    with pytest.raises(SettingsError, match="dim must be from 1 to 32, or 0 for all of them, not"):
        opened(settings={"dim": 33})


def test_a_content_is_encoded_alone_as_among_others(
    opened: Callable[..., LastTokenEncoder],
) -> None:
    encoder = opened()
    contents = [Content(text="a " * 40), Content(text="b"), Content(image=NOISE), Content()]
    made = encoder.encode(contents, Side.QUERY)
    assert made[-1].heads == {}
    for content, together in zip(contents[:-1], made, strict=False):
        (alone,) = embeddings(encoder, Side.QUERY, content)
        assert together.heads["dense"] == pytest.approx(alone, abs=1e-5)


def test_an_over_long_text_keeps_the_prompts_end(opened: Callable[..., LastTokenEncoder]) -> None:
    encoder = opened(max_tokens=128)
    long, content = "words " * 100, Content(text="words " * 100)
    assert encoder.truncates(content)
    assert not encoder.truncates(Content(text="words"))
    kept = 128 - len(encoder._prompts.ids("query_text", Content(text=""), 0))
    made = embeddings(encoder, Side.QUERY, content, Content(text=long[:kept]))
    assert made[0] == pytest.approx(made[1], abs=1e-6)


def test_a_kind_that_the_model_does_not_read_has_no_head(
    opened: Callable[..., LastTokenEncoder],
) -> None:
    encoder = opened(templates={"document_text": "{text}<|endoftext|>"}, instructions={})
    contents = [Content(text="a"), Content(image=NOISE)]
    assert [e.heads.keys() for e in encoder.encode(contents, Side.DOCUMENT)] == [{"dense"}, set()]
    assert encoder.cost(contents[1]) > encoder.cost(contents[0])


def test_a_folder_says_how_pictures_are_cut(gme_folder: Path) -> None:
    recipe = ModelFolder.open(gme_folder, PromptedRecipe, "gme").recipe
    assert recipe.patching is not None
    assert (recipe.patching.min_pixels, recipe.patching.max_pixels) == (256 * 784, 1280 * 784)
    assert (gme_folder / NAME).exists()


def test_tensorrt_builds_its_engines(gme_folder: Path) -> None:
    build_engines(ModelFolder.open(gme_folder, PromptedRecipe, "gme"))

"""SigLIP against transformers' SiglipModel, on random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import build_engines
from tiny_towers import MIXED, close, dense, noise, normed, pixels, same_alone, word_tokenizer
from transformers import SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tamis.models.encoders.siglip import SigLIP
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.exporting import export
from tamis.models.export.siglip import reads
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Side

WORDS, CONTEXT, SIDE, PATCH, WIDTH = 40, 9, 24, 8, 24
START, END, PADDING = 38, 39, 1
CONFIG = SiglipConfig(
    text_config={
        "vocab_size": WORDS,
        "hidden_size": WIDTH,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "projection_size": WIDTH,
        "pad_token_id": PADDING,
        "bos_token_id": START,
        "eos_token_id": END,
    },
    vision_config={
        "hidden_size": WIDTH,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "image_size": SIDE,
        "patch_size": PATCH,
    },
)
CONFIG._attn_implementation = "eager"


@pytest.fixture(scope="module")
def reference() -> SiglipModel:
    torch.manual_seed(0)
    return SiglipModel(CONFIG).eval()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def source(reference: SiglipModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siglip") / "source"
    reference.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(word_tokenizer(WORDS, START, END))
    said = {"pad_token": f"w{PADDING}", "tokenizer_class": "SiglipTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def folder(source: Path) -> Path:
    return export(source, source.parent / "served", method="siglip").path


@pytest.fixture(scope="module")
def siglip(folder: Path) -> SigLIP:
    return SigLIP(folder=str(folder), threads=1)


def test_a_checkpoint_of_transformers_is_known_by_its_configuration(source: Path) -> None:
    assert reads(Checkpoint.open(source))


@torch.no_grad()
def test_its_vectors_are_those_of_transformers(
    siglip: SigLIP, reference: SiglipModel, folder: Path
) -> None:
    """Padded to the context, and nothing masked; punctuation and case make no difference."""
    ids = torch.full((1, CONTEXT), PADDING)
    ids[0, :4] = torch.tensor([START, 4, 5, END])
    told = reference.get_text_features(ids).pooler_output
    for text in ("w4 w5", "W4,  w5!"):
        (made,) = siglip.encode([Content(text=text)], Side.QUERY)
        close(dense(made, "text"), normed(told)[0], 1e-5)
    recipe = ModelFolder.open(folder, TowersRecipe, "siglip").recipe
    images = [noise(seed, 30 + 20 * seed, 60) for seed in range(3)]
    told = reference.get_image_features(pixels(recipe, *images)).pooler_output
    encodings = siglip.encode([Content(image=image) for image in images], Side.DOCUMENT)
    close(np.stack([dense(one, "image") for one in encodings]), normed(told), 1e-5)


@torch.no_grad()
def test_its_visual_tokens_have_the_attention_of_the_pooling(
    siglip: SigLIP, reference: SiglipModel, folder: Path
) -> None:
    recipe = ModelFolder.open(folder, TowersRecipe, "siglip").recipe
    told = reference.vision_model(pixels(recipe, noise()), output_hidden_states=True)
    head = reference.vision_model.head
    probe = head.probe.repeat(1, 1, 1)
    _, attention = head.attention(probe, told.last_hidden_state, told.last_hidden_state)
    (made,) = siglip.encode([Content(image=noise())], Side.DOCUMENT)
    assert made.visual is not None
    close(made.visual.embeddings, told.hidden_states[-2][0], 1e-5)
    close(made.visual.attention, attention[0, 0], 1e-6)
    assert made.visual.grid == (3, 3)


def test_a_content_is_encoded_alone_as_in_a_batch(siglip: SigLIP) -> None:
    same_alone(siglip, MIXED, Side.QUERY)


def test_siglip_2_keeps_punctuation(source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    said = {"pad_token": {"content": "w1"}, "tokenizer_class": "GemmaTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    made = export(tmp_path, tmp_path / "served", method="siglip")
    recipe = ModelFolder.open(made.path, TowersRecipe, "siglip").recipe
    assert (recipe.text.cleaning, recipe.text.padding) == ("lower", 1)


def test_padding_that_the_tokenizer_does_not_know_is_named(source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "[PAD]"}')
    with pytest.raises(ModelError, match=r"pad_token: '\[PAD\]' is not in tokenizer\.json"):
        export(tmp_path, tmp_path / "served", method="siglip")


def test_tensorrt_builds_its_engines(folder: Path) -> None:
    build_engines(ModelFolder.open(folder, TowersRecipe, "siglip"))

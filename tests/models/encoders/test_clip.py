"""CLIP against transformers' CLIPModel, on random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import build_engines
from safetensors.torch import save_file
from tiny_towers import MIXED, close, dense, noise, normed, pixels, same_alone, word_tokenizer
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tamis.models.encoders.clip import CLIP
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.clip import reads
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Side

WORDS, CONTEXT, SIDE, PATCH, WIDTH = 40, 10, 24, 8, 24
START, END = WORDS - 2, WORDS - 1
CONFIG = CLIPConfig(
    text_config={
        "vocab_size": WORDS,
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "gelu",
        "bos_token_id": START,
        "eos_token_id": END,
        "pad_token_id": 0,
    },
    vision_config={
        "hidden_size": WIDTH,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "image_size": SIDE,
        "patch_size": PATCH,
        "hidden_act": "gelu",
    },
    projection_dim=12,
)
CONFIG._attn_implementation = "eager"


@pytest.fixture(scope="module")
def reference() -> CLIPModel:
    torch.manual_seed(0)
    return CLIPModel(CONFIG).eval()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def source(reference: CLIPModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "source"
    reference.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)
    processor.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(word_tokenizer(WORDS, START, END))
    return folder


@pytest.fixture(scope="module")
def folder(source: Path) -> Path:
    return export(source, source.parent / "served", method="clip").path


@pytest.fixture(scope="module")
def clip(folder: Path) -> CLIP:
    return CLIP(folder=str(folder), threads=1)


@pytest.fixture(scope="module")
def recipe(folder: Path) -> TowersRecipe:
    return ModelFolder.open(folder, TowersRecipe, "clip").recipe


def test_a_checkpoint_of_transformers_is_known_by_its_configuration(source: Path) -> None:
    assert reads(Checkpoint.open(source))


@torch.no_grad()
def test_its_vectors_are_those_of_transformers(
    clip: CLIP, reference: CLIPModel, recipe: TowersRecipe
) -> None:
    texts = [[4, 5], [6, 7, 8, 9], [10]]
    contents = [Content(text=" ".join(f"w{i}" for i in words)) for words in texts]
    for words, made in zip(texts, clip.encode(contents, Side.QUERY), strict=True):
        told = reference.get_text_features(torch.tensor([[START, *words, END]])).pooler_output
        close(dense(made, "text"), normed(told)[0], 1e-5)
    images = [noise(seed, 30 + 20 * seed, 60) for seed in range(3)]
    told = reference.get_image_features(pixels(recipe, *images)).pooler_output
    made_ = clip.encode([Content(image=image) for image in images], Side.DOCUMENT)
    close(np.stack([dense(one, "image") for one in made_]), normed(told), 1e-5)


@torch.no_grad()
def test_its_visual_tokens_are_what_llava_reads(
    clip: CLIP, reference: CLIPModel, recipe: TowersRecipe
) -> None:
    """The states before the last layer, and that layer's predecessor's attention of [CLS]."""
    (made,) = clip.encode([Content(image=noise())], Side.DOCUMENT)
    told = reference.vision_model(
        pixels(recipe, noise()), output_hidden_states=True, output_attentions=True
    )
    visual = made.visual
    assert visual is not None
    close(visual.embeddings, told.hidden_states[-2][0, 1:], 1e-5)
    attention = told.attentions[-2][0].mean(0)[0, 1:]
    close(visual.attention, attention / attention.sum(), 1e-6)
    assert visual.grid == (3, 3)
    assert visual.positions.tolist() == list(range(9))


def test_it_shows_what_it_reads(clip: CLIP, recipe: TowersRecipe) -> None:
    image = noise(0, 60, 30)
    assert np.array_equal(np.asarray(clip.framed(image, 1)), recipe.image.pixels(image))
    assert clip.framed(image, 4).size == (4 * SIDE, 4 * SIDE)


def test_a_content_of_both_parts_has_the_direction_between_them(clip: CLIP) -> None:
    both, text, image = clip.encode(
        [
            Content(text="w4 w5", image=noise()),
            Content(text="w4 w5"),
            Content(image=noise(), text=""),
        ],
        Side.DOCUMENT,
    )
    assert both.heads.keys() == clip.heads.keys() == {"text", "image", "dense"}
    assert text.heads.keys() == {"text", "dense"}
    assert image.heads.keys() == {"image", "dense"}
    between = dense(text) + dense(image)
    close(dense(both), between / np.linalg.norm(between), 1e-6)
    close(dense(text), dense(text, "text"), 1e-6)
    close(dense(image), dense(image, "image"), 1e-6)
    assert len({head.space for head in clip.heads.values()}) == 1


def test_a_content_is_encoded_alone_as_in_a_batch(clip: CLIP) -> None:
    same_alone(clip, MIXED, Side.QUERY)


def test_what_it_returns_does_not_keep_the_batch_alive(clip: CLIP) -> None:
    made, _ = clip.encode([Content(image=noise()), Content(image=noise(1))], Side.DOCUMENT)
    assert made.visual is not None
    assert made.visual.embeddings.base is None


def test_what_a_content_costs_and_what_is_cut(clip: CLIP) -> None:
    assert clip.cost(Content(text="w4")) == 2
    assert clip.cost(Content(text="w4 " * 100, image=noise())) == CONTEXT + 9
    assert not clip.truncates(Content(text="w4 " * (CONTEXT - 2)))
    assert clip.truncates(Content(text="w4 " * (CONTEXT - 1)))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (("visual_projection.weight", None), r"visual\.proj: missing"),
        (("text_projection.weight", None), r"text_projection: missing"),
        (
            ("text_model.encoder.layers.1.self_attn.k_proj.weight", None),
            r"text_model\.encoder\.layers\.1\.self_attn\.k_proj\.weight: missing",
        ),
        (("text_model.final_layer_norm.bias", torch.zeros(17)), r"expected \[16\], got \[17\]"),
        (("something.new", torch.zeros(1)), r"something\.new: unknown"),
        (
            ("vision_model.embeddings.position_embedding.weight", torch.zeros(9, WIDTH)),
            "8 patches are no square",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_key(
    reference: CLIPModel,
    source: Path,
    tmp_path: Path,
    broken: tuple[str, torch.Tensor | None],
    message: str,
) -> None:
    key, tensor = broken
    tensors = {k: v.contiguous() for k, v in reference.state_dict().items() if k != key}
    save_file(tensors | ({key: tensor} if tensor is not None else {}), tmp_path / "m.safetensors")
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((source / name).read_text())
    with pytest.raises(ModelError, match=message):
        export(tmp_path, tmp_path / "out", method="clip")
    assert not (tmp_path / "out").exists()


def test_without_its_visual_tokens_the_graph_is_smaller(source: Path, tmp_path: Path) -> None:
    options = Options(settings={"visual": "false"}, name="small")
    made = export(source, tmp_path / "small", options, method="clip")
    clip = CLIP(folder=str(made.path), threads=1)
    (encoding,) = clip.encode([Content(image=noise())], Side.DOCUMENT)
    assert encoding.visual is None
    assert {head.space for head in clip.heads.values()} == {"small"}


def test_pictures_of_another_size_than_the_towers_are_refused(source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    said = json.loads((tmp_path / "preprocessor_config.json").read_text())
    said["crop_size"] = said["size"] = {"height": 32, "width": 32}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match="32 x 32 pixels, and the tower reads 24 x 24"):
        export(tmp_path, tmp_path / "out", method="clip")


def test_tensorrt_builds_its_engines(folder: Path) -> None:
    build_engines(ModelFolder.open(folder, TowersRecipe, "clip"))

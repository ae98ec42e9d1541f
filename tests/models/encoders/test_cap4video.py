"""Cap4Video's encoder against a plain second implementation of the published code.

It is exported once, which takes most of the time.
"""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from engines import build_engines
from tiny_towers import close, dense, noise
from tiny_videos import SETTINGS, TEXT, checkpoint, clip, clip_weights, served
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, normalize, softmax

from tamis.models.encoders.cap4video import Cap4Video, Cap4VideoRecipe
from tamis.models.errors import ModelError
from tamis.models.export.cap4video import Networks
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.types import Content, Encoding, Side

DIM, HEADS, CAPTIONS = TEXT.dim, 2, 4
SHARED = "co_connetion_transformer_model_block.0."


def others(*, transformer: bool = True) -> dict[str, Tensor]:
    """What the authors' checkpoint has besides CLIP; with what it does not use, too."""
    make = torch.Generator().manual_seed(3)
    square, row = (DIM, DIM), (DIM,)
    sizes: dict[str, tuple[int, ...]] = {}
    for name in ("query1", "key1", "value1", "query2", "key2", "value2"):
        sizes |= {f"{SHARED}biattention.{name}.weight": square}
        sizes |= {f"{SHARED}biattention.{name}.bias": row}
    parts = [f"biOutput.{name}" for name in ("dense1", "q_dense1", "dense2", "q_dense2")]
    parts += [
        f"{name}.dense" for name in ("v_intermediate", "v_output", "t_intermediate", "t_output")
    ]
    norms = ("biOutput.LayerNorm1", "biOutput.LayerNorm2", "v_output.LayerNorm")
    for name in (*parts, *norms, "t_output.LayerNorm"):
        sizes |= {f"{SHARED}{name}.weight": row if "Norm" in name else square}
        sizes |= {f"{SHARED}{name}.bias": row}
    for name in ("text_weight_fc", "video_weight_fc", "query_weight_fc"):
        sizes |= {f"{name}.0.weight": square, f"{name}.0.bias": row}
        sizes |= {f"{name}.2.weight": (1, DIM), f"{name}.2.bias": (1,)}
    if transformer:
        layer = nn.TransformerEncoderLayer(DIM, HEADS, DIM).state_dict()
        for prefix in ("layer", "encoder.layers.0", "encoder.layers.1"):
            sizes |= {f"caption_transformer_{prefix}.{k}": tuple(v.shape) for k, v in layer.items()}
        sizes |= {"sentence_position_embeddings.weight": (CAPTIONS, DIM)}
    return {key: torch.randn(size, generator=make) * 0.5 for key, size in sizes.items()}


def step(own: dict[str, Tensor], name: str, states: Tensor) -> Tensor:
    return linear(states, own[f"{name}.weight"], own[f"{name}.bias"])


def norm(own: dict[str, Tensor], name: str, states: Tensor) -> Tensor:
    size = (states.shape[-1],)
    return nn.functional.layer_norm(states, size, own[f"{name}.weight"], own[f"{name}.bias"])


def taken(own: dict[str, Tensor], frames: Tensor, captions: Tensor) -> Tensor:
    """What one video's frames are after the co-attention, head by head."""
    query = step(own, f"{SHARED}biattention.query1", frames).chunk(HEADS, dim=-1)
    key = step(own, f"{SHARED}biattention.key2", captions).chunk(HEADS, dim=-1)
    value = step(own, f"{SHARED}biattention.value2", captions).chunk(HEADS, dim=-1)
    scale = (DIM // HEADS) ** 0.5
    mixed = torch.cat(
        [softmax(q @ k.T / scale, dim=-1) @ v for q, k, v in zip(query, key, value, strict=True)],
        dim=-1,
    )
    states = step(own, f"{SHARED}biOutput.dense1", mixed) + frames
    states = norm(own, f"{SHARED}biOutput.LayerNorm1", states)
    inner = gelu(step(own, f"{SHARED}v_intermediate.dense", states))
    inner = step(own, f"{SHARED}v_output.dense", inner)
    return norm(own, f"{SHARED}v_output.LayerNorm", inner + states)


def weighed(own: dict[str, Tensor], name: str, states: Tensor) -> Tensor:
    inner = torch.relu(step(own, f"{name}.0", states))
    weights = softmax(step(own, f"{name}.2", inner)[:, 0], dim=0)
    return normalize(states, dim=-1) * weights[:, None]


def joined(own: dict[str, Tensor], captions: Tensor) -> Tensor:
    """One video's captions as one vector, by torch's own layers."""
    states = (captions + own["sentence_position_embeddings.weight"][: len(captions)])[None]
    for number in range(2):
        layer = nn.TransformerEncoderLayer(DIM, HEADS, DIM, 0.0, batch_first=True)
        prefix = f"caption_transformer_encoder.layers.{number}."
        layer.load_state_dict({k: own[f"{prefix}{k}"] for k in layer.state_dict()})
        states = layer(states)  # in training mode, whose dropout is none: not torch's fast path
    return normalize(states[0].mean(dim=0), dim=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = clip_weights() | others()
    settings = SETTINGS | {"captions": str(CAPTIONS)}
    made = tmp_path_factory.mktemp("cap4video")
    return served(weights, made, "cap4video", settings, vocabulary=TEXT.vocabulary)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Cap4Video:
    return Cap4Video(folder=str(folder), threads=1)


def vectors(folder: Path, *texts: list[int]) -> Tensor:
    """What CLIP makes of texts by their ids."""
    session = ModelFolder.open(folder, Cap4Video.recipe, "cap4video").session("text", threads=1)
    rows = [session.run({"input_ids": np.array([ids])})["embedding"] for ids in texts]
    return torch.from_numpy(np.concatenate(rows))


def frames_of(folder: Path, *pictures: int) -> Tensor:
    model = ModelFolder.open(folder, Cap4Video.recipe, "cap4video")
    pixels = np.stack([model.recipe.image(frame) for frame in clip(len(pictures))])
    made = model.session("image", threads=1).run({"pixels": pixels})["embedding"]
    return torch.from_numpy(made)


@torch.no_grad()
def test_frames_take_from_captions_before_they_are_joined(folder: Path, encoder: Cap4Video) -> None:
    own, frames = others(), frames_of(folder, 0, 1, 2)
    captions = vectors(folder, [28, 4, 5, 29], [28, 6, 29])
    document = Content(text="w4 w5\n\nw6", frames=clip(3))
    made = encoder.encode([document], Side.DOCUMENT)[0]
    mixed = taken(own, frames, captions)
    expected = normalize(normalize(mixed, dim=-1).mean(dim=0), dim=0)
    close(dense(made, "video"), expected, 1e-5)
    close(dense(made, "frames"), weighed(own, "video_weight_fc", mixed), 1e-5)
    close(dense(made, "caption"), joined(own, captions), 1e-5)
    close(dense(made), dense(made, "video"), 1e-6)


@torch.no_grad()
def test_a_query_is_a_vector_and_its_weighed_words(folder: Path, encoder: Cap4Video) -> None:
    ids = [28, 4, 5, 29]
    made = encoder.encode([Content(text="w4 w5")], Side.QUERY)[0]
    assert made.heads.keys() == {"text", "words", "dense"}
    close(dense(made, "text"), normalize(vectors(folder, ids), dim=-1)[0], 1e-6)
    words = dense(made, "words")
    lengths = np.linalg.norm(words, axis=1)
    assert words.shape == (4, DIM)
    assert lengths.sum() == pytest.approx(1, abs=1e-5)
    assert lengths.std() > 1e-4
    close(words[-1] / lengths[-1], dense(made, "text"), 1e-5)


def test_each_part_may_be_missing(encoder: Cap4Video) -> None:
    contents = [
        Content(frames=clip(2)),
        Content(text="w4"),
        Content(text=" \n "),
        Content(image=noise()),
        Content(text="\n".join(f"w{i}" for i in range(4, 12)), frames=clip(7)),
    ]
    bare, told, nothing, picture, _ = made = encoder.encode(contents, Side.DOCUMENT)
    assert bare.heads.keys() == picture.heads.keys() == {"video", "frames", "dense"}
    assert told.heads.keys() == {"caption"}
    assert not nothing.heads
    for content, together in zip(contents, made, strict=True):
        (alone,) = encoder.encode([content], Side.DOCUMENT)
        same(alone, together)
        assert alone.heads.keys() <= encoder.heads.keys()
    first = Content(text="\n".join(f"w{i}" for i in range(4, 8)), frames=clip(7))
    same(encoder.encode([first], Side.DOCUMENT)[0], made[-1])


def same(one: Encoding, other: Encoding) -> None:
    assert one.heads.keys() == other.heads.keys()
    for head in one.heads:
        close(dense(one, head), dense(other, head), 1e-6)


@torch.no_grad()
def test_captions_without_a_transformer_are_their_mean() -> None:
    networks = Networks(others(transformer=False), SETTINGS).eval()
    captions = torch.randn(1, 3, DIM)
    close(networks.captions(captions)[0].numpy(), normalize(captions[0].mean(0), dim=0), 1e-6)


@torch.no_grad()
def test_one_linear_map_may_weigh_too_and_none_weighs_alike() -> None:
    own = {k: v for k, v in others().items() if not k.startswith(("text_w", "video_w"))}
    frames, captions = torch.randn(1, 3, DIM), torch.randn(1, 2, DIM)
    networks = Networks(own, SETTINGS).eval()
    _, alike = networks.frames(frames, captions)
    close(alike.norm(dim=-1).numpy(), np.full((1, 3), 1 / 3, dtype=np.float32), 1e-6)
    single = own | {
        "video_weight_fc.weight": torch.randn(1, DIM),
        "video_weight_fc.bias": torch.ones(1),
    }
    weigh = cast(nn.Linear, Networks(single, SETTINGS).video_weight_fc)
    close(weigh.weight.numpy(), single["video_weight_fc.weight"], 0)


def test_a_key_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    weights = clip_weights() | others() | {"surprise.weight": torch.ones(1)}
    source = checkpoint(weights, tmp_path / "source", TEXT.vocabulary)
    with pytest.raises(ModelError, match=r"surprise\.weight: unknown"):
        export(source, tmp_path / "served", method="cap4video")


def test_tensorrt_builds_its_engines(folder: Path) -> None:
    build_engines(ModelFolder.open(folder, Cap4VideoRecipe, "cap4video"))

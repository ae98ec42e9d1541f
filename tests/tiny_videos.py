"""Encoders of videos for tests: golden cases as they are served, and what holds for all of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_towers import Golden, as_text, close, dense, noise, same_alone, word_tokenizer
from torch import Tensor, nn

from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.networks.clip import (
    Attention,
    ClipTowers,
    Layer,
    Layers,
    TextShape,
    TextTower,
    VisionShape,
)
from tamis.models.runtimes.video import VideoEncoder, VideoRecipe
from tamis.models.types import Content, Side

TOLERANCE = 5e-5  # the golden data's own
ON_LOGITS = 1e-3


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """What the authors' code would take a 64th of a width for."""
    keys = ("vision_heads", "text_heads", "temporal_heads", "max_frames", "max_words")
    return {key: str(config[key]) for key in keys}


def served(
    weights: Mapping[str, Tensor],
    folder: Path,
    method: str,
    settings: Mapping[str, str],
    *,
    vocabulary: int,
) -> Path:
    """Exports a checkpoint as a user does."""
    source = checkpoint(weights, folder / "source", vocabulary)
    export(source, folder / "served", Options(settings=settings), method=method)
    return folder / "served"


def checkpoint(weights: Mapping[str, Tensor], folder: Path, vocabulary: int) -> Path:
    """Writes a checkpoint whose texts start and end with the last two tokens."""
    folder.mkdir()
    save_file(dict(weights), folder / "model.safetensors")
    tokenizer = word_tokenizer(vocabulary, vocabulary - 2, vocabulary - 1)
    (folder / "tokenizer.json").write_text(tokenizer)
    return folder


def golden_of(case: Path, folder: Path, method: str, **more: str) -> Golden:
    """A golden case, exported."""
    weights, inputs, outputs = (
        load_file(case / f"{name}.safetensors") for name in ("weights", "inputs", "outputs")
    )
    config = json.loads((case / "config.json").read_text())
    made = served(
        weights,
        folder,
        method,
        settings_of(config) | more,
        vocabulary=config["clip"]["vocab_size"],
    )
    return Golden(config, weights, inputs, outputs, made)


def words(golden: Golden, row: int) -> str:
    last = golden.config["clip"]["vocab_size"] - 1
    return as_text(golden.inputs["input_ids"][row], (last - 1, last))


def frame_vectors(golden: Golden, method: str) -> Tensor:
    """What the `image` graph makes of the case's frames, padding included."""
    video = golden.inputs["video"]
    made = golden.session(VideoRecipe, method, "image").run({"pixels": video.flatten(0, 1).numpy()})
    return torch.from_numpy(made["embedding"]).view(*video.shape[:2], -1)


def vectors_of(golden: Golden, method: str) -> np.ndarray:
    """What the graphs make of the case's videos."""
    frames = frame_vectors(golden, method).numpy()
    mask = golden.inputs["video_mask"].numpy()
    made = golden.session(VideoRecipe, method, "video").run({"frames": frames, "mask": mask})
    return made["embedding"]


def clip(count: int, seed: int = 0) -> tuple[Image.Image, ...]:
    """A video of noise."""
    return tuple(noise(seed * 100 + frame, 40 + seed, 36) for frame in range(count))


def holds(encoder: VideoEncoder) -> None:
    """Asserts what holds for every encoder of videos."""
    contents = [
        Content(frames=clip(1)),
        Content(text="w4 w5", frames=clip(2, 1)),
        Content(text="w6 w7 w8"),
        Content(image=noise(7)),
        Content(frames=clip(3, 2)),
    ]
    same_alone(encoder, contents, Side.DOCUMENT)
    video, pair, text, picture, _ = encoder.encode(contents, Side.DOCUMENT)
    close(dense(picture), dense(encoder.encode([Content(frames=(noise(7),))], Side.QUERY)[0]), 1e-6)
    assert {"video", "dense"} <= video.heads.keys()
    assert {"text", "video", "dense"} <= pair.heads.keys()
    assert "video" not in text.heads
    whole = dense(pair, "text") + dense(pair, "video")
    close(dense(pair), whole / np.linalg.norm(whole), 1e-6)
    for one in (video, pair, text):
        assert one.heads.keys() <= encoder.heads.keys()
        assert abs(np.linalg.norm(dense(one)) - 1) < 1e-5
    assert dict(encoder.encode([Content()], Side.QUERY)[0].heads) == {}
    assert encoder.cost(contents[4]) > encoder.cost(contents[0]) or encoder._rule.filled
    assert encoder.cost(contents[1]) > encoder.cost(Content(frames=clip(2, 1)))


def chooses_evenly(encoder: VideoEncoder) -> None:
    """Asserts that of a long video as many frames are read as the recipe says."""
    most = encoder._rule.most
    frames = clip(2 * most + 1)
    kept = [frames[i] for i in np.linspace(0, len(frames) - 1, most).astype(int)]
    assert kept[0] is frames[0]
    assert kept[-1] is frames[-1]
    whole, chosen = encoder.encode(
        [Content(frames=frames), Content(frames=tuple(kept))], Side.DOCUMENT
    )
    close(dense(whole), dense(chosen), 1e-6)


VISION = VisionShape(width=16, layers=2, heads=2, inner=32, patch=8, grid=(2, 2), dim=12)
TEXT = TextShape(width=20, layers=2, heads=2, inner=40, context=16, vocabulary=30, dim=12)
SETTINGS = {
    "vision_heads": "2",
    "text_heads": "2",
    "temporal_heads": "2",
    "prompt_heads": "2",
    "max_frames": "3",
    "max_words": "8",
}


def clip_weights() -> dict[str, Tensor]:
    """Random weights of a tiny CLIP, by the names of the authors of video encoders."""
    torch.manual_seed(0)
    found = ClipTowers(VISION, TEXT).state_dict()
    return {f"clip.{key.removeprefix('text.')}": drawn(tensor) for key, tensor in found.items()}


def drawn(tensor: Tensor) -> Tensor:
    """As the tensor, with no weight that is 0 or 1 as at the start of a training."""
    return tensor + 0.1 * torch.randn_like(tensor)


def attended(
    attention: Attention, states: Tensor, seen: Tensor, mask: Tensor | None = None
) -> Tensor:
    """What torch's own multi-head attention makes of one sequence, by the same weights."""
    width = states.shape[-1]
    module = nn.MultiheadAttention(width, attention.heads, batch_first=True)
    module.load_state_dict(attention.state_dict())
    made: Tensor = module(states[None], seen[None], seen[None], attn_mask=mask)[0][0]
    return made


def layers(stack: Layers) -> list[Layer]:
    return [cast(Layer, layer) for layer in stack.resblocks]


def fed(layer: Layer, states: Tensor) -> Tensor:
    """The second half of a layer, by its formula."""
    inner = layer.mlp["c_fc"](layer.ln_2(states))
    return states + layer.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))


def prompted_text(tower: TextTower, prompts: Tensor, ids: list[int]) -> Tensor:
    """A text's vector, where prompts are read after its first token: one text, step by step."""
    states = tower.token_embedding.weight[ids] + tower.positional_embedding[: len(ids)]
    for layer, own in zip(layers(tower.transformer), prompts, strict=True):
        whole = torch.cat([states[:1], own, states[1:]])
        mask = torch.full((len(whole), len(whole)), -torch.inf).triu(1)
        normed = layer.ln_1(whole)
        whole = fed(layer, whole + attended(layer.attn, normed, normed, mask))
        states = torch.cat([whole[:1], whole[1 + len(own) :]])
    made: Tensor = tower.ln_final(states)[ids.index(max(ids))] @ tower.text_projection
    return made

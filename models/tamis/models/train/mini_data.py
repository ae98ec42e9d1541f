"""What tamis-mini is trained on: captioned pictures, drawn by weight and changed each time."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.train.minilm import MiniLm, minilm
from tamis.models.train.pictures import Pictures

# How often a source is drawn from; stamps are few and like what is searched.
WEIGHTS = {
    "stamps": 0.17, "art4apps": 0.08, "openclipart": 0.18, "glyphs": 0.12, "game-icons": 0.03,
    "noto": 0.07, "noto-v1": 0.05, "twemoji": 0.06, "openmoji": 0.06, "fluent-emoji": 0.08,
    "fluent-emoji-flat": 0.04, "emojione": 0.05, "fxemoji": 0.03, "flat-color-icons": 0.01,
    "streamline-ultimate-color": 0.01, "streamline-plump-color": 0.01,
    "streamline-kameleon-color": 0.01,
}  # fmt: skip
# Captions that a picture's is drawn from: its name five times, and three others.
NAMES, OTHERS = 5, 3
# How much oftener a plain letter or one with a common accent is drawn than another sign.
LETTER = 12.0


class Data(NamedTuple):
    """What a step draws from: pictures and the embeddings of their captions."""

    pixels: UInt8[Tensor, "pictures height width 4"]
    weights: Float[Tensor, " pictures"]
    captions: Int[Tensor, "pictures captions"]
    mirrors: Float[Tensor, " pictures"]
    inks: Float[Tensor, " pictures"]
    texts: Float[Tensor, "texts 384"]


def data(pictures: Pictures, cache: Path) -> Data:
    """The training side. Embeds each distinct caption once, and keeps that in `cache`."""
    rows = pictures.where(*WEIGHTS)
    captions = [list(pictures.captions[i])[: 1 + OTHERS] for i in rows]
    distinct = sorted({caption for some in captions for caption in some})
    stored, names = cache / "captions.npy", cache / "captions.json"
    if not names.exists() or json.loads(names.read_text()) != distinct:
        np.save(stored, MiniLm(minilm(cache)).encode(distinct))
        names.write_text(json.dumps(distinct))
    place = {caption: i for i, caption in enumerate(distinct)}
    sources = np.array(pictures.sources)[rows]
    counts = {name: max(1, int((sources == name).sum())) for name in WEIGHTS}
    one_sided = ("letter", "number", "left", "right", "clock", "note")
    flat = np.isin(sources, ("glyphs", "game-icons"))
    table = [
        [place[c] for c in (*some[:1] * NAMES, *((some[1:] or some[:1]) * OTHERS)[:OTHERS])]
        for some in captions
    ]
    weights = np.array([WEIGHTS[name] / counts[name] for name in sources])
    letters = np.array(
        [bool(re.match(r"The letter .( with (acute|an umlaut|tilde))?\.$", c[0])) for c in captions]
    )
    glyphs = sources == "glyphs"
    drawn = np.where(glyphs & letters, LETTER, 1.0)
    weights[glyphs] *= drawn[glyphs] / drawn[glyphs].mean()
    return Data(
        pixels=torch.from_numpy(pictures.pixels[rows]),
        weights=torch.from_numpy(weights),
        captions=torch.tensor(table),
        mirrors=torch.tensor(
            [0.0 if any(w in c[0].lower() for w in one_sided) else 0.5 for c in captions]
        ),
        inks=torch.from_numpy(np.where(flat, 0.6, 0.0)).float(),
        texts=torch.from_numpy(np.load(stored)),
    )


def augmented(
    rows: Data, chosen: Int[Tensor, " batch"], size: int, random: torch.Generator
) -> UInt8[Tensor, "batch size size 3"]:
    """Pictures turned, stretched, moved, recoloured, and laid on white or on another colour."""
    count = len(chosen)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=random)

    rgba = rows.pixels[chosen].permute(0, 3, 1, 2).float() / 255
    colour, alpha = rgba[:, :3], rgba[:, 3:]
    ink = (draw(0.0, 1.0) < rows.inks[chosen]).float()[:, None, None, None]
    colour = colour * (1 - ink) + (colour + (1 - colour) * draw(0.0, 0.8, 3, 1, 1)) * ink
    # An affine map per picture, from where a pixel is to where it is read.
    angle = draw(-0.2, 0.2) * (draw(0.0, 1.0) < 0.7)
    zoom = torch.exp(draw(-0.10, 0.35))  # above 1 the picture shrinks
    stretch = torch.exp(draw(-0.15, 0.15))
    mirror = 1 - 2 * (draw(0.0, 1.0) < rows.mirrors[chosen]).float()
    room = 0.15 + (zoom - 1).abs() * 0.7
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    across = torch.stack([cos * stretch * mirror, -sin * mirror, draw(-1.0, 1.0) * room], 1)
    down = torch.stack([sin / stretch, cos / stretch, draw(-1.0, 1.0) * room], 1)
    grid = F.affine_grid(
        torch.stack([across, down], 1), [count, 4, size, size], align_corners=False
    )
    moved = F.grid_sample(torch.cat([colour * alpha, alpha], 1), grid, align_corners=False)
    premultiplied, alpha = moved[:, :3], moved[:, 3:]
    # Contrast, brightness and hue of what is drawn, by a random near-identity colour matrix.
    mix = torch.eye(3) * draw(0.75, 1.25, 1, 1) + draw(-0.12, 0.12, 3, 3)
    grey = (draw(0.0, 1.0) < 0.1).float()[:, None, None]
    mix = mix * (1 - grey) + torch.full((3, 3), 1 / 3) * grey
    premultiplied = torch.einsum("bij,bjhw->bihw", mix, premultiplied)
    premultiplied = premultiplied + draw(-0.1, 0.1, 1, 1, 1) * alpha
    coloured = (draw(0.0, 1.0) < 0.2).float()[:, None, None, None]
    ground = 1 - coloured * draw(0.0, 0.7, 3, 1, 1)
    flat = premultiplied.clamp(min=0).minimum(alpha) + ground * (1 - alpha)
    return (flat * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def on_white(rgba: UInt8[Tensor, "batch height width 4"]) -> UInt8[Tensor, "batch height width 3"]:
    """Pictures on white, as `fit` lays them."""
    alpha = rgba[..., 3:].float() / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().to(torch.uint8)

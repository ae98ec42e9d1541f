"""Trains tamis-mini: pictures into all-MiniLM-L6-v2's text space, on two CPU cores.

    python -m tamis.models.train.mini

The text side is frozen and its embeddings are made once, so a step costs a small vision tower.
Training sees small pictures with patches left out first, whole ones at full size last.
"""

import argparse
import copy
import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.networks.mini_vit import MiniVit, MiniVitShape
from tamis.models.train.mini_export import export
from tamis.models.train.minilm import MiniLm, minilm
from tamis.models.train.pictures import Pictures, prepare
from tamis.models.train.stamps import CACHE

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
WEIGHTS_FOLDER = Path(__file__).parent.parent / "weights" / "tamis_mini"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training.

    Attributes:
        share: Of all steps.
        size: The side of the pictures, in pixels.
        kept: The share of a picture's patches that are looked at.
    """

    share: float
    size: int
    kept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Optimiser steps.
        batch: Pictures a step.
        rate: The peak learning rate, held between a linear warm-up and a linear cool-down, so that
            the first steps of a longer run are those of a shorter one.
        warmup_steps: Steps until the peak.
        cooldown: The share of all steps in which the rate falls to nothing.
        decay: Of the weights (AdamW), of matrices only.
        average: Decay of the moving average of the weights, which is what is kept.
        bank: Captions of other pictures that each picture is compared with besides its batch's.
        same: Captions whose cosine is above this are not counted as wrong answers.
        regression: Weight of the plain cosine term.
        phases: In order.
        seed: Of everything drawn at random.
    """

    steps: int = 4500
    batch: int = 64
    rate: float = 1.0e-3
    warmup_steps: int = 50
    cooldown: float = 0.3
    decay: float = 0.1
    average: float = 0.998
    bank: int = 4096
    same: float = 0.85
    regression: float = 1.0
    phases: tuple[Phase, ...] = (
        Phase(share=0.88, size=48, kept=0.7),
        Phase(share=0.12, size=96, kept=0.5),
    )
    seed: int = 0


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


def loss_of(
    seen: Float[Tensor, "batch 384"],
    texts: Float[Tensor, "texts 384"],
    alike: Bool[Tensor, "batch texts"],
    scale: Tensor,
    regression: float,
) -> Tensor:
    """Contrast both ways, with a bank of captions on the text side, and a plain cosine.

    Args:
        seen: Pictures.
        texts: Their captions, in their order, then those of the bank.
        alike: Where a text is as good an answer as the picture's own, and so no wrong one.
        scale: What cosines are multiplied by.
        regression: Weight of the plain cosine.
    """
    count = len(seen)
    cosines = seen @ texts.T
    logits = (scale * cosines).masked_fill(alike & ~torch.eye(*alike.shape).bool(), -torch.inf)
    places = torch.arange(count)
    to_text = F.cross_entropy(logits, places)
    to_image = F.cross_entropy(logits[:, :count].T, places)
    return (to_text + to_image) / 2 + regression * (1 - cosines.diagonal()).mean()


class Run:
    """A training run: one that is stopped goes on from its file as if it had not been."""

    def __init__(self, rows: Data, shape: MiniVitShape, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.rows, self.recipe, self.step = rows, recipe, 0
        self.random = torch.Generator().manual_seed(recipe.seed)
        self.tower = MiniVit(shape).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.kept = copy.deepcopy(self.tower).eval()
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(20.0)))
        places = self.tower.places
        matrices = [p for p in self.tower.parameters() if p.ndim > 1 and p is not places]
        undecayed = [p for p in self.tower.parameters() if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "factor": 1.0},
            {"params": [*undecayed, self.log_scale], "factor": 1.0, "weight_decay": 0.0},
            # At the common rate, places stayed too small beside the patches to be told apart.
            {"params": [places], "factor": 10.0, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            groups, weight_decay=recipe.decay, betas=(0.9, 0.98), fused=True
        )

    def advance(self) -> float:
        """Takes one step; its loss."""
        rows, recipe, random = self.rows, self.recipe, self.random
        phase = phase_of(self.step, recipe)
        for group in self.optimiser.param_groups:
            group["lr"] = group["factor"] * rate_of(self.step, recipe)
        chosen = torch.multinomial(rows.weights, recipe.batch, generator=random)
        which = torch.randint(NAMES + OTHERS, (recipe.batch,), generator=random)
        bank = torch.randint(len(rows.texts), (recipe.bank,), generator=random)
        own = rows.captions[chosen]
        names = torch.cat([own.gather(1, which[:, None])[:, 0], bank])
        texts = rows.texts[names]
        alike = (own[:, :, None] == names).any(1) | (texts[: recipe.batch] @ texts.T > recipe.same)
        pixels = augmented(rows, chosen, phase.size, random)
        patches = (phase.size // self.tower.shape.patch) ** 2
        order = torch.rand(recipe.batch, patches, generator=random).argsort(1)
        seen = self.tower(pixels, order[:, : round(phase.kept * patches)])
        scale = self.log_scale.exp().clamp(max=100.0)
        loss = loss_of(seen.embedding, texts, alike, scale, recipe.regression)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.tower.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        average(self.kept, self.tower, min(recipe.average, self.step / (self.step + 10)))
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Writes all that `load` needs."""
        parts = {name: getattr(self, name).state_dict() for name in ("tower", "kept", "optimiser")}
        scale = self.log_scale.detach()
        torch.save(
            {**parts, "scale": scale, "random": self.random.get_state(), "step": self.step}, path
        )

    def load(self, path: Path) -> None:
        """Goes on from a file of `save`."""
        stored = torch.load(path, weights_only=True)
        for name in ("tower", "kept", "optimiser"):
            getattr(self, name).load_state_dict(stored[name])
        self.log_scale.data = stored["scale"]
        self.random.set_state(stored["random"])
        self.step = stored["step"]

    def start(self, path: Path) -> None:
        """Takes the weights of a file of `save`, and nothing else."""
        stored = torch.load(path, weights_only=True)
        self.tower.load_state_dict(stored["kept"])
        self.kept.load_state_dict(stored["kept"])


def phase_of(step: int, recipe: Recipe) -> Phase:
    """The phase that a step is in."""
    ends = np.cumsum([phase.share for phase in recipe.phases]) * recipe.steps
    return recipe.phases[min(int(np.searchsorted(ends, step, "right")), len(ends) - 1)]


def rate_of(step: int, recipe: Recipe) -> float:
    """The learning rate of a step."""
    warm = (step + 1) / recipe.warmup_steps
    cool = (recipe.steps - step) / (recipe.cooldown * recipe.steps)
    return recipe.rate * min(1.0, warm, cool)


@torch.no_grad()
def average(kept: MiniVit, tower: MiniVit, decay: float) -> None:
    """Moves the kept weights towards the tower's; counters and statistics are copied."""
    for own, new in zip(kept.parameters(), tower.parameters(), strict=True):
        own.lerp_(new, 1 - decay)
    for own_state, new_state in zip(kept.buffers(), tower.buffers(), strict=True):
        own_state.copy_(new_state)


class Notes:
    """Prints how training goes, and the recall of the validation stamps now and then."""

    def __init__(self, pictures: Pictures, cache: Path, every: int) -> None:
        rows = pictures.where("validation")
        captions = [pictures.captions[i][0] for i in rows]
        self._pixels = on_white(torch.from_numpy(pictures.pixels[rows]))
        self._texts = torch.from_numpy(MiniLm(minilm(cache)).encode(captions))
        self._every = every
        self._start, self._cpu = time.monotonic(), time.process_time()
        self._loss = 0.0

    def __call__(self, run: Run, loss: float) -> None:
        self._loss = 0.98 * self._loss + 0.02 * loss if self._loss else loss
        if run.step % self._every == 0:
            spent, cpu = time.monotonic() - self._start, time.process_time() - self._cpu
            print(
                f"step {run.step}  loss {self._loss:.3f}  scale {run.log_scale.exp().item():.1f}  "
                f"validation recall@1 {self.recall(run.kept, 1):.3f} "
                f"@5 {self.recall(run.kept, 5):.3f}  {spent / 60:.1f} min, {cpu / 60:.1f} CPU min",
                flush=True,
            )

    @torch.no_grad()
    def recall(self, tower: MiniVit, depth: int) -> float:
        """The share of validation captions whose stamp is among the `depth` nearest."""
        scores = self._texts @ tower(self._pixels).embedding.T
        ranks = (scores > scores.diagonal()[:, None]).sum(1)
        return float((ranks < depth).float().mean())


def on_white(rgba: UInt8[Tensor, "batch height width 4"]) -> UInt8[Tensor, "batch height width 3"]:
    """Pictures on white, as `fit` lays them."""
    alpha = rgba[..., 3:].float() / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().to(torch.uint8)


def main() -> None:
    """Trains and exports; `mini_recall` evaluates."""
    parser = argparse.ArgumentParser(description="Train tamis-mini on two CPU cores.")
    parser.add_argument("--cache", type=Path, default=CACHE, help="for what is fetched")
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER, help="of the graph")
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", type=Path, help="a file that a stopped run left in the cache")
    parser.add_argument("--start", type=Path, help="such a file, whose weights alone are taken")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    pictures = prepare(asked.cache)
    run = Run(data(pictures, asked.cache), MiniVitShape(), Recipe(steps=asked.steps))
    if asked.resume:
        run.load(asked.resume)
    if asked.start:
        run.start(asked.start)
    note = Notes(pictures, asked.cache, every=50)
    while run.step < asked.steps:
        note(run, run.advance())
        if run.step % 100 == 0:
            run.save(asked.cache / f"mini_{run.step}.pt")
    torch.save(run.kept.state_dict(), asked.cache / "mini.pt")
    export(run.kept, asked.out)


if __name__ == "__main__":
    main()

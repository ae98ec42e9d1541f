"""Trains tamis-mini: pictures into all-MiniLM-L6-v2's text space, on two CPU cores.

    python -m tamis.models.train.mini

The text side is frozen and its embeddings are made once, so a step costs a small vision tower.
Training sees small pictures with patches left out first, whole ones at full size last.
"""

import argparse
import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.networks.mini_vit import MiniVit, MiniVitShape
from tamis.models.train.mini_data import NAMES, OTHERS, Data, augmented, data, on_white
from tamis.models.train.mini_export import export
from tamis.models.train.minilm import MiniLm, minilm
from tamis.models.train.pictures import Pictures, prepare
from tamis.models.train.stamps import CACHE

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

"""What a small vision-language model still answers from fewer visual tokens, by every method.

The model is `weights/mini_vlm` (`TAMIS_BENCH_MODEL` names another folder), which easy-VQA taught.
The questions are of its test side, `TAMIS_BENCH_QUESTIONS` (500) of them, the same for all. A cell
is

    accuracy in % / millions of operations / median ms from the pixels to the first logits

on one core. A share is that of the picture's 64 tokens which the last layer reads; P-Sigmoid's is
the mean over the layers, as in its paper. A paper's layers are taken at this model's depth.
Thresholds and schedules are found on `TAMIS_BENCH_CALIBRATION` (150) training questions.

A star marks what loses to chance: to each of three draws of as many tokens, in the same place and
with the same positions. What the words alone tell shows where the pictures are blank.
"""

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from tamis.models import catalog
from tamis.models.keep_plan import KeepPlan
from tamis.models.pruning import NOTHING, Place, Pruning, published
from tamis.models.refiners import LayerRefiner, Refiner, Rows, Seen, VisualRefiner
from tamis.models.refiners.context_compressor import ContextCompressor
from tamis.models.refiners.fastv import FastV
from tamis.models.refiners.mustdrop import MustDrop
from tamis.models.refiners.mustdrop_prefill import MustDropPrefill
from tamis.models.refiners.pyramiddrop import PyramidDrop
from tamis.models.refiners.random import Random
from tamis.models.refiners.sparsevlm import SparseVLM
from tamis.models.runtimes.hf.pruned_vlm import PrunedVlm
from tamis.models.train import g_search, p_sigmoid
from tamis.models.train.easy_vqa import EasyVqa, Question, read
from tamis.models.train.mini_vlm_model import WEIGHTS, load
from tamis.models.train.pruned_answers import Outcome, answered, drawn
from tamis.models.train.schedule_search import Calibration
from tamis.models.train.stamps import CACHE

pytestmark = pytest.mark.bench
MODEL = Path(os.environ.get("TAMIS_BENCH_MODEL") or WEIGHTS)
DATA = Path(os.environ.get("TAMIS_BENCH_CACHE") or CACHE)
QUESTIONS = int(os.environ.get("TAMIS_BENCH_QUESTIONS") or 500)
CALIBRATION = int(os.environ.get("TAMIS_BENCH_CALIBRATION") or 150)
TOKENS = 64
SHARES = (0.5, 0.25, 0.125, 0.0625)
SEEDS = (0, 1, 2)
DEPTH = 32  # of the models that papers count layers of
ROUNDS = 12  # curves that P-Sigmoid tries
HALVINGS = 8  # of the interval that MustDrop's threshold is in
# PruMerge's 32 neighbours are of 576 tokens, and its own rule would keep fewer than the budget.
SETTINGS = {"prumerge": {"adaptive": False, "neighbours": 4}}
VISUALS = [
    name
    for name in catalog.names(Refiner)
    if issubclass(catalog.find(Refiner, name), VisualRefiner) and name not in {"identity", "random"}
]


@dataclass(frozen=True, kw_only=True)
class AsMany(LayerRefiner):
    """Chance: as many tokens as another method keeps before each of its layers, but any.

    Attributes:
        other: The other method.
        seed: Another one draws other tokens.
    """

    rows: ClassVar = Rows.TEXT

    other: LayerRefiner
    seed: int

    @property
    def layers(self) -> tuple[int, ...]:
        return self.other.layers

    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        count = len(self.other.keep(layer, seen))
        content = int(seen.image.embeddings[0].view(np.uint32)[0])
        rng = np.random.default_rng([self.seed, layer, content])
        return KeepPlan.of_selected(rng.choice(len(seen.left), count, replace=False))


@dataclass
class Table:
    """Measures prunings on the same questions."""

    tried: Calibration
    data: EasyVqa
    questions: list[Question]
    drawn: dict[tuple[object, ...], list[Outcome]] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        return self.tried.vlm.layers

    def at(self, *layers: int) -> tuple[int, ...]:
        """A paper's layers in a model of this depth; before the first no token can go."""
        scaled: list[int] = []
        for layer in layers:
            least = scaled[-1] + 1 if scaled else 1
            scaled.append(max(least, round(layer / DEPTH * self.layers)))
        return tuple(scaled)

    def outcome(self, pruning: Pruning) -> Outcome:
        vlm = self.tried.vlm.pruned_by(pruning)
        return answered(vlm, self.tried.words, self.data, self.questions)

    def chance(self, pruning: Pruning) -> list[Outcome]:
        """Three draws of as many tokens in the same places."""
        visual = pruning.visual
        place = Place.TOWER if pruning.place is Place.TOWER else Place.PROJECTED
        key = (pruning.inside, visual and visual.budget, place, pruning.packed)
        if key not in self.drawn:
            self.drawn[key] = [
                self.outcome(
                    replace(
                        pruning,
                        place=place,  # tokens that are only chosen may be before the projector
                        visual=visual and Random(budget=visual.budget, seed=seed),
                        inside=pruning.inside and AsMany(other=pruning.inside, seed=seed),
                    )
                )
                for seed in SEEDS
            ]
        return self.drawn[key]

    def cell(self, pruning: Pruning) -> str:
        made = self.outcome(pruning)
        loses = all(made.accuracy < draw.accuracy for draw in self.chance(pruning))
        return shown(f"{100 * made.accuracy:.1f}{'*' if loses else ''}", made)

    def random(self, pruning: Pruning) -> str:
        made = self.chance(pruning)
        accuracies = [100 * draw.accuracy for draw in made]
        spread = statistics.stdev(accuracies)
        return shown(f"{statistics.fmean(accuracies):.1f} ± {spread:.1f}", made[0])

    def thresholds(self, share: float, visual: VisualRefiner | None = None) -> Pruning:
        """MustDrop's later stages with the threshold that leaves about a share of the tokens."""
        few = replace(self.tried, questions=self.tried.questions[:50])

        def of(power: float) -> Pruning:
            inside = MustDropPrefill(
                at=self.at(3, 7, 11, 15),
                total=10**power,
                single=10**power,
                key_share=min(0.08, share),
            )
            return published(visual, inside) if visual else Pruning(inside=inside)

        low, high = -5.0, 0.5
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            vlm = few.vlm.pruned_by(of(middle))
            left = answered(vlm, few.words, few.data, few.questions).left
            low, high = (middle, high) if left > share else (low, middle)
        return of(high)


def shown(accuracy: str, made: Outcome) -> str:
    return f"{accuracy} / {made.flops / 1e6:.0f} / {1e3 * made.prefill_s:.1f}"


def whole(share: float) -> int:
    return round(share * TOKENS)


def visual(name: str, share: float) -> Pruning:
    settings = {"budget": whole(share), **SETTINGS.get(name, {})}
    return published(catalog.load(VisualRefiner, name, settings))


def where(pruning: Pruning) -> str:
    if pruning.visual is None:
        return "language model, original"
    positions = "renumbered" if pruning.packed else "original"
    inside = " and language model" if pruning.inside else ""
    return f"{pruning.place}{inside}, {positions}"


def compressed(layer: int) -> Callable[[float], Pruning]:
    return lambda share: Pruning(inside=ContextCompressor(layer=layer, stride=round(1 / share)))


def inside(table: Table) -> Iterator[tuple[str, Callable[[float], Pruning]]]:
    """The methods inside the language model, by the share that they leave."""

    def only(refiner: LayerRefiner) -> Pruning:
        return Pruning(inside=refiner)

    (early,), (late,) = table.at(2), table.at(16)
    yield "fastv", lambda share: only(FastV(layer=early, budget=whole(share)))
    stages = table.at(8, 16, 24)
    yield (
        "pyramiddrop",
        lambda share: only(PyramidDrop(stages=stages, ratio=share ** (1 / 3) + 1e-9)),
    )
    rating = table.at(2, 6, 15)
    yield (
        "sparsevlm",
        lambda share: only(
            SparseVLM(at=rating, budgets=tuple(whole(share ** (i / 3)) for i in (1, 2, 3)))
        ),
    )
    yield "context_compressor, heavy", compressed(early)
    yield "context_compressor, light", compressed(late)
    yield "mustdrop_prefill", table.thresholds
    yield (
        "mustdrop + mustdrop_prefill",
        lambda share: table.thresholds(share, MustDrop(budget=whole(share**0.5))),
    )
    yield "p_sigmoid", lambda share: only(p_sigmoid.search(table.tried, share, ROUNDS))


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, words = load(MODEL)
    sides = read(DATA)
    training = sides["train"]
    tried = Calibration(PrunedVlm(model), words, training, drawn(training, CALIBRATION))
    made = Table(tried, sides["test"], drawn(sides["test"], QUESTIONS))
    made.outcome(NOTHING)  # warms up
    full = made.outcome(NOTHING)
    right = shown(f"{100 * full.accuracy:.1f}", full)
    blank = replace(made, data=replace(made.data, pictures=np.full_like(made.data.pictures, 255)))
    guessed = 100 * blank.outcome(NOTHING).accuracy
    print(f"\n\n{len(made.questions)} questions, all tokens: {right}; blank: {guessed:.1f}")
    yield made
    torch.set_num_threads(threads)


def test_before_the_language_model(table: Table) -> None:
    head()
    for packed in (False, True):
        prunings = [Pruning(visual=Random(budget=whole(s)), packed=packed) for s in SHARES]
        row("random", where(prunings[0]), [table.random(own) for own in prunings])
    for name in VISUALS:
        row(name, where(visual(name, 0.5)), [table.cell(visual(name, s)) for s in SHARES])


def test_in_the_tower(table: Table) -> None:
    """After its first layer: what comes out of all of them knows of the whole picture."""

    def early(own: VisualRefiner | None) -> Pruning:
        return Pruning(visual=own, place=Place.TOWER, after=0)

    head()
    chosen = [table.random(early(Random(budget=whole(share)))) for share in SHARES]
    row("random", where(early(Random())), chosen)
    for name in VISUALS:
        prunings = [early(visual(name, share).visual) for share in SHARES]
        row(name, where(prunings[0]), [table.cell(own) for own in prunings])


def test_inside_the_language_model(table: Table) -> None:
    head()
    for name, pruning in inside(table):
        prunings = [pruning(share) for share in SHARES]
        row(name, where(prunings[0]), [table.cell(own) for own in prunings])


def test_g_search(table: Table) -> None:
    found = g_search.search(table.tried)
    made = table.outcome(Pruning(inside=found))
    shares = " ".join(f"{100 * share:.3g}" for share in found.shares)
    cell = table.cell(Pruning(inside=found))
    print(f"\ng_search: {cell}; {100 * made.left:.1f} % left, the layers keep {shares} %")


def head() -> None:
    heads = " | ".join(f"{100 * share:.3g} %" for share in SHARES)
    print(f"\n| Method | Where, positions | {heads} |\n|{' --- |' * (2 + len(SHARES))}")


def row(name: str, place: str, cells: list[str]) -> None:
    print(f"| {name} | {place} | {' | '.join(cells)} |", flush=True)

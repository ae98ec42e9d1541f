"""Trains a small vision-language model: `python -m tamis.models.train.mini_vlm FOLDER`.

LLaVA's shape at a thousandth of its size: a vision transformer, a projector, a causal decoder. It
answers easy-VQA's questions from 64 visual tokens, so that a method that drops some of them has
something to lose. It measures methods and is of no other use.

LLaVA takes a vision tower that captions have taught. Here tower and decoder learn together, and a
second loss has the tower's class token name colours and shapes: without it that token's attention,
which several methods rank by, would be noise.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import LlavaForConditionalGeneration

from tamis.models.train.easy_vqa import (
    COLOURS,
    SHAPES,
    TRAITS,
    EasyVqa,
    Question,
    Words,
    read,
    traits,
)
from tamis.models.train.mini_vlm_accuracy import accuracy
from tamis.models.train.mini_vlm_model import config, place, publish
from tamis.models.train.shared_picture import UNANSWERED, logits, packed, pixels
from tamis.models.train.stamps import CACHE

VALIDATION = 200  # of the training pictures
EVERY = 100  # steps from one line to the next
CHECKPOINT = "training.pt"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How it is trained.

    Attributes:
        naming_steps: Of the tower alone, which come first.
        naming_batch: Pictures in such a step.
        steps: Of the whole.
        batch: Pictures in such a step.
        asked: Questions of a picture in a step, at most.
        preference: How much likelier a question about what the picture has is than another.
        rate: The highest learning rate.
        warmup_steps: Over which the rate rises to it.
        cooldown: The last share of the steps, over which it falls to 0.
        decay: Of the matrices' weights.
        naming: The weight of the class token's loss.
        seed: Of everything random.
    """

    naming_steps: int = 1_000
    naming_batch: int = 32
    steps: int = 4_000
    batch: int = 12
    asked: int = 6
    preference: float = 8.0
    rate: float = 1e-3
    warmup_steps: int = 100
    cooldown: float = 0.4
    decay: float = 0.05
    naming: float = 0.3
    seed: int = 0


class Step(NamedTuple):
    """What one step saw.

    Attributes:
        loss: Of the answers; of the names while the tower learns alone.
        right: The share of answers, or names, that were right.
    """

    loss: Float[Tensor, ""]
    right: Float[Tensor, ""]


class Run:
    """A training run: one that is stopped goes on from its file as if it had not been."""

    def __init__(self, data: EasyVqa, words: Words, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.data, self.words, self.recipe, self.step = data, words, recipe, 0
        self.names = torch.tensor([names(questions) for questions in data.by_picture])
        self.model = LlavaForConditionalGeneration(config(words)).train()
        place(self.model)
        self.naming = nn.Linear(self.model.config.vision_config.hidden_size, len(TRAITS))
        parameters = [*self.model.parameters(), *self.naming.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)

    def advance(self) -> Step:
        """Takes one step."""
        # A step's own generator: where training stopped and went on leaves no trace.
        rng = np.random.default_rng((self.recipe.seed, self.step))
        for group in self.optimiser.param_groups:
            group["lr"] = rate_of(self.step, self.recipe)
        alone = self.step < self.recipe.naming_steps
        count = self.recipe.naming_batch if alone else self.recipe.batch
        chosen = rng.choice(len(self.data.pictures), count, replace=False)
        pictures = mirrored(self.data.pictures[chosen], rng)
        seen = self.model.model.vision_tower(pixels(pictures), output_hidden_states=True)
        states = seen.hidden_states[self.model.config.vision_feature_layer][:, 1:]
        named = self.named(torch.cat([seen.pooler_output, states.mean(1)]), self.names[chosen])
        total, step = named.loss, named
        if not alone:
            asked = packed([self.asked(i, rng) for i in chosen.tolist()], self.words)
            made = logits(self.model, self.model.model.multi_modal_projector(states), asked)
            truth = asked.answers[asked.answers != UNANSWERED]
            step = Step(F.cross_entropy(made, truth), right(made, truth))
            total = step.loss + self.recipe.naming * named.loss
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return Step(step.loss.detach(), step.right)

    def asked(self, picture: int, rng: np.random.Generator) -> list[Question]:
        """Some of a picture's questions, those about what it has more often.

        They are few: of the colours that are asked for, a model is mostly right to deny all.
        """
        questions = self.data.by_picture[picture]
        has = [all(traits([question]).values()) for question in questions]
        weights = np.where(has, self.recipe.preference, 1.0)
        count = min(self.recipe.asked, len(questions))
        chosen = rng.choice(len(questions), count, replace=False, p=weights / weights.sum())
        return [questions[i] for i in chosen]

    def named(
        self, states: Float[Tensor, "states width"], truth: Int[Tensor, "pictures 2"]
    ) -> Step:
        """How well colours and shapes are told from states: each picture's, once or repeated."""
        made = self.naming(F.layer_norm(states, states.shape[1:]))
        colours, shapes = truth.repeat(len(states) // len(truth), 1).T
        loss = F.cross_entropy(made[:, : len(COLOURS)], colours, ignore_index=UNANSWERED)
        loss = loss + F.cross_entropy(made[:, len(COLOURS) :], shapes, ignore_index=UNANSWERED)
        return Step(loss, right(made[:, len(COLOURS) :], shapes))

    def save(self, folder: Path) -> None:
        """Writes the model as it is published, and what `load` needs to go on."""
        publish(self.model, self.words, folder)
        parts = {
            name: getattr(self, name).state_dict() for name in ("model", "naming", "optimiser")
        }
        torch.save({**parts, "step": self.step}, folder / CHECKPOINT)

    def load(self, folder: Path) -> None:
        """Goes on from what `save` wrote."""
        stored = torch.load(folder / CHECKPOINT, weights_only=True)
        for name in ("model", "naming", "optimiser"):
            getattr(self, name).load_state_dict(stored[name])
        self.step = stored["step"]


def names(questions: Sequence[Question]) -> tuple[int, int]:
    """A picture's colour and shape, as far as its questions tell them, else `UNANSWERED`."""
    told = traits(questions)
    kinds = [[told.get(name, False) for name in kind] for kind in (COLOURS, SHAPES)]
    colour, shape = (kind.index(True) if any(kind) else UNANSWERED for kind in kinds)
    return colour, shape


def right(made: Float[Tensor, "rows choices"], truth: Int[Tensor, " rows"]) -> Float[Tensor, ""]:
    """The share of rows whose largest value is in the place of truth; of those that have one."""
    known = truth != UNANSWERED
    return (made.argmax(1) == truth)[known].float().mean()


def rate_of(step: int, recipe: Recipe) -> float:
    """The learning rate of a step."""
    steps = recipe.naming_steps + recipe.steps
    warm = (step + 1) / recipe.warmup_steps
    cool = (steps - step) / (recipe.cooldown * steps)
    return recipe.rate * min(1.0, warm, cool)


def mirrored(
    pictures: UInt8[np.ndarray, "pictures side side 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "pictures side side 3"]:
    """Every second picture, by chance, from left to right: no answer depends on it."""
    flips = rng.integers(2, size=len(pictures)).astype(bool)
    return np.where(flips[:, None, None, None], pictures[:, :, ::-1], pictures)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train the small vision-language model.")
    parser.add_argument("folder", type=Path, help="of the weights, and of a stopped run's state")
    parser.add_argument("--cache", type=Path, default=CACHE, help="for what is fetched")
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the folder's state")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    data = read(asked.cache)
    training, validation = data["train"].split(VALIDATION)
    words = Words.of(data["train"].questions)
    run = Run(training, words, Recipe(steps=asked.steps))
    if asked.resume:
        run.load(asked.folder)
    began, cpu = time.monotonic(), time.process_time()
    recent: list[Step] = []
    while run.step < run.recipe.naming_steps + run.recipe.steps:
        recent.append(run.advance())
        if run.step % EVERY == 0:
            loss, share = (float(torch.stack(parts).mean()) for parts in zip(*recent, strict=True))
            spent, busy = time.monotonic() - began, time.process_time() - cpu
            print(
                f"step {run.step}  loss {loss:.3f}  right {share:.3f}  "
                f"{spent / 60:.1f} min, {busy / 60:.1f} CPU min",
                flush=True,
            )
            recent.clear()
        if run.step % (5 * EVERY) == 0:
            run.save(asked.folder)
            share = accuracy(run.model.eval(), words, validation)
            run.model.train()
            print(f"step {run.step}  validation accuracy {share:.4f}", flush=True)
    run.save(asked.folder)
    print(f"test accuracy {accuracy(run.model.eval(), words, data['test']):.4f}")


if __name__ == "__main__":
    main()

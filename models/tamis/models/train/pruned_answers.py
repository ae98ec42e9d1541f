"""What a vision-language model still answers rightly when visual tokens go, and what that saves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, median

import numpy as np

from tamis.models.runtimes.hf.pruned_vlm import PrunedVlm
from tamis.models.train.easy_vqa import EasyVqa, Question, Words
from tamis.models.train.shared_picture import pixels


@dataclass(frozen=True, slots=True)
class Outcome:
    """Means over some questions.

    Attributes:
        accuracy: The share that was answered rightly.
        left: The share of the picture's tokens that the last layer read.
        read: The same share, over all layers of the language model.
        flops: A question with its picture.
        prefill_s: The median time from the pixels to the first logits.
    """

    accuracy: float
    left: float
    read: float
    flops: float
    prefill_s: float


def drawn(data: EasyVqa, count: int, seed: int = 0) -> list[Question]:
    """Some questions of a side at random, those of a picture together; all where `count` is 0."""
    total = len(data.questions)
    chosen = np.random.default_rng(seed).choice(total, min(count or total, total), replace=False)
    return sorted((data.questions[i] for i in chosen), key=lambda question: question.picture)


def answered(vlm: PrunedVlm, words: Words, data: EasyVqa, questions: Sequence[Question]) -> Outcome:
    """How the model fares on questions, those of a picture together; each picture is seen once."""
    right, left, read, flops, took = [], [], [], [], []
    for number, asked in groupby(questions, key=lambda question: question.picture):
        picture = vlm.look(pixels(data.pictures[number : number + 1]))
        whole = picture.tokens.grid[0] * picture.tokens.grid[1]
        for question in asked:
            ids = words.prompt(question.text, whole)
            reading = vlm.read(picture, ids)
            right.append(int(reading.logits.argmax()) == words.ids(question.answer)[0])
            left.append(len(reading.positions) / whole)
            read.append((fmean(reading.prefilled.counts) - len(ids) + whole) / whole)
            flops.append(picture.flops.total + reading.flops.total)
            took.append(picture.took_s + reading.took_s)
    return Outcome(fmean(right), fmean(left), fmean(read), fmean(flops), median(took))

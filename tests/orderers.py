"""Models that order what they are shown, for tests, without weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.usage import spend

NUMBER = re.compile(r"\d+")


@dataclass
class SmallestFirst:
    """A `FusionInDecoder` that names texts by the last number in them, the smallest first.

    Attributes:
        groups: What it has read.
    """

    groups: list[list[str]] = field(default_factory=list)

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        return [" ".join(text.split()[:tokens]) for text in texts]

    def orders(self, groups: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[int]]:
        self.groups += [list(group) for group in groups]
        spend(calls=len(groups), tokens=0, model_s=0.0)
        numbers = [[int(NUMBER.findall(text)[-1]) for text in group] for group in groups]
        return [sorted(range(len(own)), key=own.__getitem__) for own in numbers]


@dataclass
class LastAxisFirst:
    """An `EmbeddingReader` that names those first whose vector leans most to its last axis.

    Attributes:
        dim: The length of a vector.
        prompts: What it has read.
    """

    dim: int = 2
    prompts: list[Prompt] = field(default_factory=list)

    def order(self, prompt: Prompt, embeddings: np.ndarray) -> list[int]:
        assert np.allclose(np.linalg.norm(embeddings, axis=1), 1)
        self.prompts.append(prompt)
        spend(calls=1, tokens=0, model_s=0.0)
        order: list[int] = np.argsort(-embeddings[:, -1]).tolist()
        return order

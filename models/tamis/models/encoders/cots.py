"""COTS trains two towers with token, instance and task losses; what it serves are the towers.

Its losses (masked vision-language modelling on visual tokens, a momentum contrast, a divergence
between the two directions of retrieval) are for training only.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import DualEncoder
from tamis.models.types import Paper

__all__ = ("COTS",)


@dataclass(frozen=True, kw_only=True)
class COTS(DualEncoder):
    """Two towers in CLIP's form. Heads are as CLIP's."""

    paper: ClassVar = Paper(
        "COTS: Collaborative Two-Stream Vision-Language Pre-Training Model for Cross-Modal "
        "Retrieval",
        2022,
        "https://arxiv.org/abs/2204.07441",
    )
    checked: ClassVar = "nothing of its own: its towers are CLIP's, checked there"
    departs: ClassVar = (
        "no code or weights were published: weights trained by its losses are read under CLIP's "
        "names, with CLIP's text tower where the paper has a BERT"
    )
    method: ClassVar = "cots"

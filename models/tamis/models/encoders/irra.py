"""IRRA finds persons by a description: CLIP, tuned on pictures of pedestrians, tall and narrow.

What teaches it relations between words and patches (masked words, an identity classifier) is for
training only; its checkpoint holds them and they are not read.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import DualEncoder
from tamis.models.types import Paper

__all__ = ("IRRA",)


@dataclass(frozen=True, kw_only=True)
class IRRA(DualEncoder):
    """CLIP's towers over pictures of 384 x 128 pixels. Heads are as CLIP's."""

    paper: ClassVar = Paper(
        "Cross-Modal Implicit Relation Reasoning and Aligning for Text-to-Image Person Retrieval",
        2023,
        "https://arxiv.org/abs/2303.12501",
    )
    checked: ClassVar = (
        "the key map on random weights of the checkpoint's shape; its towers are CLIP's, checked "
        "there"
    )
    departs: ClassVar = "the published weights were not run"
    method: ClassVar = "irra"

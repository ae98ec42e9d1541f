"""SigLIP is CLIP trained by a sigmoid a pair instead of a softmax a batch.

Its picture's vector is pooled by attention, and its text tower reads padding as it does words. Also
serves SigLIP 2 at a fixed resolution. Heads are as CLIP's.
"""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.towers import DualEncoder
from tamis.models.types import Paper

__all__ = ("SigLIP",)


@dataclass(frozen=True, kw_only=True)
class SigLIP(DualEncoder):
    """Two transformers, the text's padded to 64 tokens and not masked."""

    paper: ClassVar = Paper(
        "Sigmoid Loss for Language Image Pre-Training", 2023, "https://arxiv.org/abs/2303.15343"
    )
    checked: ClassVar = (
        "transformers' SiglipModel on random weights within 1e-5, its image processor to the last "
        "bit; its vocabulary was not at hand, only the cleaning of texts is checked"
    )
    departs: ClassVar = (
        "a content with both parts also has one vector, which SigLIP itself does not define; of "
        "SigLIP 2, not the models of native aspect (NaFlex)"
    )
    method: ClassVar = "siglip"

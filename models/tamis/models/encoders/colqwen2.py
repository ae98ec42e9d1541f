"""ColQwen2 is ColPali over Qwen2-VL: pages keep their aspect, and small ones cost fewer vectors."""

from dataclasses import dataclass
from typing import ClassVar

from tamis.models.encoders.colpali import ColPali

__all__ = ("ColQwen2",)


@dataclass(frozen=True, kw_only=True)
class ColQwen2(ColPali):
    """One vector a token of Qwen2-VL, of a page or of a text."""

    checked: ClassVar = (
        "golden data of colpali-engine's ColQwen2, through ONNX; transformers' Qwen2-VL on random "
        "weights, its patches and its positions"
    )
    departs: ClassVar = (
        f"{ColPali.departs}; padded on the right, where the authors pad on the left: masked, it "
        "makes no difference; a picture more than 200 times longer than wide is read, not refused"
    )
    method: ClassVar = "colqwen2"

"""What every server of `bench_oip` runs: one text encoder, the same code on the same graph."""

from collections.abc import Sequence

import numpy as np

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.types import Content, Side


class TextModel:
    """Texts to unit vectors, one thread a batch."""

    def __init__(self, folder: str) -> None:
        self._encoder = catalog.load(Encoder, "minilm", {"folder": folder, "threads": 1})
        self(["warm up"])

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        made = self._encoder.encode([Content(text=text) for text in texts], Side.QUERY)
        return np.stack([np.asarray(one.heads["dense"]) for one in made])

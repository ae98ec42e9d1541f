"""A cross-encoder that ONNX Runtime runs: a BERT-like encoder with a class head.

Pairs of like length are run together, so that little is padding.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.batches import alike
from tamis.models.runtimes import Session
from tamis.models.runtimes.folder import ModelFolder, Recipe
from tamis.models.runtimes.pairs import PairTokenizer
from tamis.models.runtimes.usage import spend

ROOM = 1_024  # tokens that one run reads: more fill no core better, and pad more


@dataclass(frozen=True, kw_only=True)
class CrossEncoderRecipe(Recipe):
    """A cross-encoder's `model.toml`.

    Attributes:
        labels: How many logits its head gives.
        max_tokens: Of a pair, special ones included.
        query_tokens: Of a query; what is beyond is left out.
        inputs: The names of the graph's inputs.
    """

    labels: int
    max_tokens: int = 512
    query_tokens: int = 64
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class OnnxCrossEncoder:
    """A `CrossEncoder` in a model folder. Several threads may use it at once.

    Attributes:
        folder: As `tamis export` makes it.
        pairs: Its tokenizer.
        session: Its graph.
    """

    folder: ModelFolder[CrossEncoderRecipe]
    pairs: PairTokenizer
    session: Session

    @classmethod
    def open(cls, path: str | PathLike[str], *, threads: int = 0) -> "OnnxCrossEncoder":
        """Loads a folder.

        Args:
            path: The folder.
            threads: Threads that one run may use; 0 for one a core.

        Raises:
            ModelError: A file is missing, damaged or of another model.
        """
        folder = ModelFolder.open(path, CrossEncoderRecipe, "monobert")
        recipe = folder.recipe
        pairs = PairTokenizer.open(
            path, max_tokens=recipe.max_tokens, query_tokens=recipe.query_tokens
        )
        return cls(folder, pairs, folder.session("pair", threads=threads))

    @property
    def labels(self) -> int:
        return self.folder.recipe.labels

    @property
    def max_tokens(self) -> int:
        return self.folder.recipe.max_tokens

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Float[np.ndarray, "pairs labels"]:
        started = time.perf_counter()
        encodings = self.pairs.encode(pairs)
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        logits = np.empty((len(pairs), self.labels), dtype=np.float32)
        for group in alike(lengths, room=ROOM):
            given = self.pairs.batch([encodings[i] for i in group]).inputs(types=True)
            inputs = {name: given[name] for name in self.folder.recipe.inputs}
            logits[group] = self.session.run(inputs)["logits"]
        took = time.perf_counter() - started
        spend(calls=len(pairs), tokens=int(lengths.sum()), model_s=took)
        return logits

"""Scores a query's vectors and a document's together: what no index of single vectors can do."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.batches import PAIRS
from tamis.models.errors import InputError
from tamis.models.runtimes import Session
from tamis.models.runtimes.folder import NAME, ModelFolder, Recipe, build_recipe
from tamis.models.runtimes.usage import spend


@runtime_checkable
class PairScorer(Protocol):
    """A network over the vectors of both sides. Safe to call from several threads."""

    def scores(
        self,
        query: Float[np.ndarray, "query_vectors dim"],
        documents: Sequence[Float[np.ndarray, "_ dim"]],
        *,
        query_second: bool = False,
    ) -> Float[np.ndarray, " documents"]:
        """A score for each document; -inf for one without vectors.

        Args:
            query: One side of every pair.
            documents: The other sides.
            query_second: Whether the query is what the network calls its second input.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PairRecipe(Recipe):
    """A pair scorer's `model.toml`.

    Attributes:
        dim: Of the vectors of both sides.
        most: Vectors of both sides together; a document's others are left out.
        inputs: The graph's two inputs.
    """

    dim: int
    most: int
    inputs: tuple[str, str]


@dataclass(frozen=True)
class OnnxPairScorer:
    """A `PairScorer` in a model folder, with a graph `joint`.

    Documents with as many vectors are run together, so that nothing is padded and nothing masked.
    """

    folder: ModelFolder[PairRecipe]
    session: Session

    @classmethod
    def open(cls, path: str | PathLike[str], *, threads: int = 0) -> "OnnxPairScorer":
        """Loads a folder.

        Raises:
            ModelError: A file is missing, damaged or of another model.
        """
        said = build_recipe(Path(path) / NAME, PairRecipe).method
        folder = ModelFolder.open(path, PairRecipe, said)
        return cls(folder, folder.session("joint", threads=threads))

    def scores(
        self,
        query: Float[np.ndarray, "query_vectors dim"],
        documents: Sequence[Float[np.ndarray, "_ dim"]],
        *,
        query_second: bool = False,
    ) -> Float[np.ndarray, " documents"]:
        recipe = self.folder.recipe
        for vectors in (query, *documents):
            if vectors.shape[1] != recipe.dim:
                raise InputError(f"vectors of {vectors.shape[1]} numbers; needs {recipe.dim}")
        scores = np.full(len(documents), -np.inf, dtype=np.float32)
        groups = defaultdict(list)
        for i, document in enumerate(documents):
            groups[min(len(document), recipe.most - len(query))].append(i)
        started = time.perf_counter()
        for count, members in groups.items():
            for first in range(0, len(members) if count > 0 else 0, PAIRS):
                batch = members[first : first + PAIRS]
                held = np.stack([documents[i][:count] for i in batch]).astype(np.float32)
                asked = np.broadcast_to(query.astype(np.float32), (len(batch), *query.shape))
                sides = (held, asked) if query_second else (asked, held)
                inputs = dict(zip(recipe.inputs, map(np.ascontiguousarray, sides), strict=True))
                scores[batch] = self.session.run(inputs)["score"]
        took = time.perf_counter() - started
        tokens = sum(len(document) + len(query) for document in documents)
        spend(calls=len(documents), tokens=tokens, model_s=took)
        return scores

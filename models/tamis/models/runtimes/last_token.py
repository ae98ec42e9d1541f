"""Embeds by the last token of a prompt, which alone has read all of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tamis.models.blocks.similarity import unit
from tamis.models.runtimes.prompted import PromptedEncoder, Read
from tamis.models.types import Encoding, Head, Kind, Side


@dataclass(frozen=True, kw_only=True)
class LastTokenEncoder(PromptedEncoder):
    """A vision-language model whose last token's state is the embedding.

    Attributes:
        dim: How many of the embedding's first dimensions are kept, for a model that was trained
            to be cut short; 0 for all.
    """

    dim: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dim <= (whole := self._model.recipe.dim):
            raise ValueError(f"dim must be from 1 to {whole}, or 0 for all of them, not {self.dim}")

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._model.recipe
        return {"dense": Head(Kind.DENSE, self.dim or recipe.dim, recipe.space)}

    @property
    def fingerprint(self) -> str:
        """Of the model, and of where its embeddings are cut."""
        cut = f"-dim{self.dim}" if self.dim else ""
        return f"{self._model.fingerprint}{cut}"

    def _encoding(self, read: Read, side: Side) -> Encoding:
        return Encoding({"dense": unit(read.made[: self.dim or None])})

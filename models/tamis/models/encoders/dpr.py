"""DPR embeds questions and passages by two BERTs that were trained together.

An embedding is the first token's state, as it is: embeddings are compared by their inner product,
lengths included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder_encoder import TextEncoder, TextRecipe
from tamis.models.runtimes.tokenizer import SPECIAL
from tamis.models.types import Content, Encoding, Head, Kind, Paper, Side

__all__ = ("DPR",)


@dataclass(frozen=True, kw_only=True)
class DPRRecipe(TextRecipe):
    """DPR's `model.toml`.

    Attributes:
        titles: Whether the first line of a document of several lines is its title, which is read
            as a text of its own: [CLS] title [SEP] passage [SEP].
    """

    titles: bool = True


@dataclass(frozen=True, kw_only=True)
class DPR(TextEncoder[DPRRecipe]):
    """Two BERTs: the graph `query` embeds queries, the graph `document` documents."""

    paper: ClassVar = Paper(
        "Dense Passage Retrieval for Open-Domain Question Answering",
        2020,
        "https://arxiv.org/abs/2004.04906",
    )
    checked: ClassVar = (
        "transformers' DPRQuestionEncoder and DPRContextEncoder on random weights, with and "
        "without a projection"
    )
    departs: ClassVar = "a document's first line is its title; passages are not cut to 100 words"
    method: ClassVar = "dpr"
    recipe: ClassVar = DPRRecipe
    graphs: ClassVar = tuple(Side)

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._recipe
        return {"dense": Head(Kind.DENSE, recipe.dim, recipe.space, dot=True)}

    @property
    def _room(self) -> int:
        return self._recipe.max_tokens - SPECIAL - 1  # a title has a [SEP] of its own

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        texts = [self._parts(content.text or "", side) for content in contents]
        made = run_texts(self._sessions[side], self._tokenizer.encode(texts))
        return [Encoding({"dense": one["embedding"].copy()}) for one in made]

    def _parts(self, text: str, side: Side) -> str | tuple[str, str]:
        title, line_end, passage = text.strip().partition("\n")
        if side is Side.QUERY or not line_end or not self._recipe.titles:
            return text.strip()
        return title.strip(), passage.strip()

"""DPR embeds questions and passages by two BERTs that were trained together.

An embedding is the first token's state, as it is: embeddings are compared by their inner product,
lengths included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tamis.models.encoders import Encoder
from tamis.models.runtimes import Session
from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder import EncoderRecipe, ModelFolder
from tamis.models.runtimes.tokenizer import SPECIAL, Tokenizer, estimate
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Paper, Side

__all__ = ("DPR",)


@dataclass(frozen=True, kw_only=True)
class DPRRecipe(EncoderRecipe):
    """DPR's `model.toml`.

    Attributes:
        max_tokens: Tokens of one text that are read, special ones included.
        titles: Whether the first line of a document of several lines is its title, which is read
            as a text of its own: [CLS] title [SEP] passage [SEP].
    """

    max_tokens: int
    titles: bool = True


@dataclass(frozen=True, kw_only=True)
class DPR(Encoder):
    """Two BERTs: the graph `query` embeds queries, the graph `document` documents.

    Attributes:
        folder: As `tamis export` makes it.
        threads: Threads that one batch may use; 0 for one a core.
    """

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
    modalities: ClassVar = frozenset({Modality.TEXT})

    folder: str
    threads: int = 0

    def __post_init__(self) -> None:
        _ = self._tokenizer, self._sessions  # a missing file is found now, not by a query

    @cached_property
    def _model(self) -> ModelFolder[DPRRecipe]:
        return ModelFolder.open(self.folder, DPRRecipe, "dpr")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._model.tokenizer(max_length=self._model.recipe.max_tokens)

    @cached_property
    def _sessions(self) -> dict[Side, Session]:
        return {side: self._model.session(side, threads=self.threads) for side in Side}

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._model.recipe
        return {"dense": Head(Kind.DENSE, recipe.dim, recipe.space, dot=True)}

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def runtime(self) -> str:
        return self._sessions[Side.QUERY].runtime

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        return estimate(content.text, self._model.recipe.max_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read."""
        room = self._model.recipe.max_tokens - SPECIAL - 1  # a title has a [SEP] of its own
        return self._tokenizer.exceeds(content.text or "", room)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        texts = [self._parts(content.text or "", side) for content in contents]
        made = run_texts(self._sessions[side], self._tokenizer.encode(texts))
        return [Encoding({"dense": one["embedding"].copy()}) for one in made]

    def _parts(self, text: str, side: Side) -> str | tuple[str, str]:
        title, line_end, passage = text.strip().partition("\n")
        if side is Side.QUERY or not line_end or not self._model.recipe.titles:
            return text.strip()
        return title.strip(), passage.strip()

"""What encoders from a model folder share: they open its graphs, and are known by what it holds."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic, TypeVar, cast

from tamis.models.encoders import Encoder
from tamis.models.runtimes import Session
from tamis.models.runtimes.folder import EncoderRecipe, ModelFolder
from tamis.models.runtimes.tokenizer import SPECIAL, Tokenizer, estimate
from tamis.models.types import Content, Modality

R = TypeVar("R", bound=EncoderRecipe)


@dataclass(frozen=True, kw_only=True)
class FolderEncoder(Encoder, Generic[R]):
    """An encoder that runs a model folder's graphs.

    Attributes:
        method: The method that the folder's `model.toml` must name.
        recipe: What it must declare, to the key.
        graphs: The names of those that are run.
        folder: As `tamis export` makes it.
        threads: Threads that one batch may use; 0 for one a core.
    """

    method: ClassVar[str]
    recipe: ClassVar[type[EncoderRecipe]]
    graphs: ClassVar[tuple[str, ...]]

    folder: str
    threads: int = 0

    def __post_init__(self) -> None:
        _ = self._sessions  # a missing file is found now, not by a query

    @cached_property
    def _model(self) -> ModelFolder[R]:
        return ModelFolder.open(self.folder, cast(type[R], self.recipe), self.method)

    @property
    def _recipe(self) -> R:
        return self._model.recipe

    @cached_property
    def _sessions(self) -> dict[str, Session]:
        return {name: self._model.session(name, threads=self.threads) for name in self.graphs}

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def runtime(self) -> str:
        """What runs its graphs; more than one where only some have an engine."""
        return ", ".join(dict.fromkeys(session.runtime for session in self._sessions.values()))


@dataclass(frozen=True, kw_only=True)
class TextRecipe(EncoderRecipe):
    """The `model.toml` of an encoder that reads texts of both sides to one length.

    Attributes:
        max_tokens: Tokens of one text that are read, special ones included.
    """

    max_tokens: int


T = TypeVar("T", bound=TextRecipe)


@dataclass(frozen=True, kw_only=True)
class TextEncoder(FolderEncoder[T], Generic[T]):
    """An encoder of texts by a model folder's tokenizer and graphs."""

    modalities: ClassVar = frozenset({Modality.TEXT})

    def __post_init__(self) -> None:
        _ = self._tokenizer
        super().__post_init__()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._model.tokenizer(max_length=self._recipe.max_tokens)

    @property
    def _room(self) -> int:
        """How many tokens of a content's own text are read."""
        return self._recipe.max_tokens - SPECIAL

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        return estimate(content.text, self._recipe.max_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read."""
        return self._tokenizer.exceeds(content.text or "", self._room)

"""What encoders of a text tower and an image tower share: their recipe, inputs and graphs.

A method names its graphs and its way to one vector; here is how a content becomes what they read.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import Float
from PIL.Image import Image, fromarray

from tamis.models.blocks.similarity import unit
from tamis.models.blocks.text_cleaning import CLEANINGS, sentence
from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder import EncoderRecipe
from tamis.models.runtimes.folder_encoder import FolderEncoder
from tamis.models.runtimes.tokenizer import Tokenizer, Tokens
from tamis.models.runtimes.transform import ImageTransform
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Side, VisualTokens

BYTES_A_TOKEN = 4  # of English in a vocabulary of words' parts
PICTURES = 32  # that one run looks at, which bounds its memory

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, kw_only=True)
class TextRule:
    """How a content's text becomes the tokens that a tower reads.

    Attributes:
        max_tokens: Tokens of one text that are read, special ones included.
        length: To which every text is padded; 0 for that of the longest in its batch.
        padding: The token that it is padded with.
        masked: Whether the graph is told what is padding.
        cleaning: What is done to the text first, by its name in `blocks.text_cleaning`.
        sentence: Whether it is made a sentence before that, as UniIR does.
        instructed: Whether a query's instruction is put before its text.
    """

    max_tokens: int
    length: int = 0
    padding: int = 0
    masked: bool = False
    cleaning: str = "none"
    sentence: bool = False
    instructed: bool = False

    def __post_init__(self) -> None:
        if self.cleaning not in CLEANINGS:
            known = ", ".join(CLEANINGS)
            raise ValueError(f"cleaning must be one of {known}, not {self.cleaning!r}")
        if self.length not in (0, self.max_tokens):
            raise ValueError(f"length must be 0 or max_tokens, not {self.length}")

    def text(self, content: Content, side: Side) -> str | None:
        """What is read of a content; None where it has no words."""
        text = content.text or ""
        if self.instructed and side is Side.QUERY and content.instruction:
            text = f"{content.instruction} {text}"
        if self.sentence:
            text = sentence(text)
        return CLEANINGS[self.cleaning](text) if text.strip() else None

    def inputs(self, tokens: Tokens) -> dict[str, np.ndarray]:
        """A graph's inputs for a batch of texts."""
        ids = np.where(tokens.attention_mask == 1, tokens.input_ids, self.padding)
        if self.length:
            room = ((0, 0), (0, self.length - ids.shape[1]))
            ids = np.pad(ids, room, constant_values=self.padding)
        mask = {"attention_mask": tokens.attention_mask} if self.masked else {}
        return {"input_ids": ids, **mask}


@dataclass(frozen=True, kw_only=True)
class TowersRecipe(EncoderRecipe):
    """The `model.toml` of an encoder of texts and pictures.

    Attributes:
        text: How texts are read.
        image: How pictures are read.
        grid: Rows and columns of the picture's patches.
        visual: Whether the `image` graph gives the patches' states and attention as well.
    """

    text: TextRule
    image: ImageTransform
    grid: tuple[int, ...]
    visual: bool = False


@dataclass(frozen=True, kw_only=True)
class TowersEncoder(FolderEncoder[TowersRecipe]):
    """An encoder of texts, pictures and both, from a folder of two graphs or more."""

    modalities: ClassVar = frozenset({Modality.TEXT, Modality.IMAGE})
    recipe: ClassVar[type[TowersRecipe]] = TowersRecipe

    def __post_init__(self) -> None:
        _ = self._tokenizer
        super().__post_init__()

    @property
    def _patches(self) -> int:
        return int(np.prod(self._recipe.grid))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._model.tokenizer(max_length=self._recipe.text.max_tokens)

    @cached_property
    def _special(self) -> int:
        """How many special tokens a text gets."""
        return int(self._tokenizer.encode([""]).lengths[0])

    @property
    def heads(self) -> Mapping[str, Head]:
        return {"dense": Head(Kind.DENSE, self._recipe.dim, self._recipe.space)}

    def cost(self, content: Content) -> int:
        """The tokens of its text, by an estimate that costs no tokenizing, and its patches."""
        rule = self._recipe.text
        size = len((content.text or "").encode())
        words = rule.length or min(self._special + size // BYTES_A_TOKEN, rule.max_tokens)
        return words * (content.text is not None) + self._patches * (content.image is not None)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read."""
        text = self._recipe.text.text(content, Side.QUERY) or ""
        room = self._max_tokens(beside_image=content.image is not None) - self._special
        return self._tokenizer.exceeds(text, room)

    def framed(self, image: Image, scale: int) -> Image:
        """What it reads of a picture: by its transform's rule all of it, or a part."""
        return fromarray(self._recipe.image.larger(scale).pixels(image))

    @abstractmethod
    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]: ...

    def _max_tokens(self, *, beside_image: bool) -> int:
        """Tokens of one text that are read, special ones included."""
        return self._recipe.text.max_tokens

    def _look(self, images: Sequence[Image]) -> list[dict[str, np.ndarray]]:
        """What the `image` graph makes of each picture; copies, which keep no batch alive."""
        return self._seen([self._recipe.image(image) for image in images])

    def _seen(
        self, pixels: Sequence[Float[np.ndarray, "3 height width"]]
    ) -> list[dict[str, np.ndarray]]:
        made: list[dict[str, np.ndarray]] = []
        for start in range(0, len(pixels), PICTURES):
            batch = np.stack(pixels[start : start + PICTURES])
            outputs = self._sessions["image"].run({"pixels": batch})
            made += [
                {name: output[row].copy() for name, output in outputs.items()}
                for row in range(len(batch))
            ]
        return made

    def _visual(self, seen: Mapping[str, np.ndarray] | None) -> VisualTokens | None:
        if seen is None or not self._recipe.visual:
            return None
        rows, columns = self._recipe.grid
        places = np.arange(rows * columns)
        return VisualTokens(seen["visual"], seen["attention"], places, (rows, columns))


@dataclass(frozen=True, kw_only=True)
class DualEncoder(TowersEncoder):
    """Towers that put texts and pictures into one space, each by itself.

    Heads: `text` and `image` for each part by itself, and `dense` for the content as a whole: of
    one part it is that part's, of both the direction between the two.
    """

    graphs: ClassVar[tuple[str, ...]] = ("text", "image")

    @property
    def heads(self) -> Mapping[str, Head]:
        return dict.fromkeys(("text", "image", "dense"), super().heads["dense"])

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        return [
            Encoding(self._heads(text, seen["embedding"] if seen else None), self._visual(seen))
            for text, seen in self._parts(contents, side)
        ]

    def _heads(
        self, text: Float[np.ndarray, " dim"] | None, image: Float[np.ndarray, " dim"] | None
    ) -> dict[str, Float[np.ndarray, " dim"]]:
        named = {"text": text, "image": image}
        heads = {name: unit(part) for name, part in named.items() if part is not None}
        return heads | ({"dense": unit(np.sum(list(heads.values()), axis=0))} if heads else {})

    def _parts(
        self, contents: Sequence[Content], side: Side
    ) -> list[tuple[Float[np.ndarray, " dim"] | None, dict[str, np.ndarray] | None]]:
        """Each content's text and picture in the space, not normalised; None for a missing one."""
        rule = self._recipe.text
        texts = where_there([rule.text(content, side) for content in contents], self._read)
        seen = where_there([content.image for content in contents], self._look)
        return list(zip(texts, seen, strict=True))

    def _read(self, texts: Sequence[str]) -> list[Float[np.ndarray, " dim"]]:
        tokens = self._tokenizer.encode(texts)
        made = run_texts(self._sessions["text"], tokens, inputs=self._recipe.text.inputs)
        return [one["embedding"].copy() for one in made]


@dataclass(frozen=True, kw_only=True)
class ScoreFusion(DualEncoder):
    """Towers whose outputs are summed as they are: a pair scores the sum of its parts' scores."""

    @property
    def heads(self) -> Mapping[str, Head]:
        return {"dense": super().heads["dense"]}

    def _heads(
        self, text: Float[np.ndarray, " dim"] | None, image: Float[np.ndarray, " dim"] | None
    ) -> dict[str, Float[np.ndarray, " dim"]]:
        parts = [part for part in (text, image) if part is not None]
        return {"dense": unit(np.sum(parts, axis=0))} if parts else {}


@dataclass(frozen=True, kw_only=True)
class FeatureFusion(TowersEncoder):
    """A network that reads a text's tokens and a picture's states together.

    A content without a text has the empty one. What stands for a missing picture is the method's.
    """

    graphs: ClassVar = ("image", "joint")

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        texts = [self._recipe.text.text(content, side) for content in contents]
        whole = [
            i for i, text in enumerate(texts) if text is not None or contents[i].image is not None
        ]
        seen = where_there([contents[i].image for i in whole], self._look)
        states = [self._missing if one is None else one["states"] for one in seen]
        made = iter(self._joined([texts[i] or "" for i in whole], states))
        encodings = [Encoding({})] * len(contents)
        for i in whole:
            encodings[i] = Encoding({"dense": unit(next(made))})
        return encodings

    @cached_property
    def _missing(self) -> Float[np.ndarray, "states width"]:
        """The states that stand for a missing picture: those of a tensor of zeros."""
        transform = self._recipe.image
        zeros = np.zeros((3, transform.height, transform.width), dtype=np.float32)
        return self._seen([zeros])[0]["states"]

    def _joined(
        self, texts: Sequence[str], states: Sequence[Float[np.ndarray, "_ width"]]
    ) -> list[Float[np.ndarray, " dim"]]:
        """What the `joint` graph makes of each pair; those with one number of states together."""
        made: dict[int, Float[np.ndarray, " dim"]] = {}
        for count in {len(own) for own in states}:
            members = [i for i, own in enumerate(states) if len(own) == count]
            for start in range(0, len(members), PICTURES):
                group = members[start : start + PICTURES]
                tokens = self._cutter(count).encode([texts[i] for i in group])
                image = np.stack([states[i] for i in group])
                outputs = self._sessions["joint"].run(
                    {**self._inputs(tokens, count), "image": image}
                )
                made |= {i: own.copy() for i, own in zip(group, outputs["embedding"], strict=True)}
        return [made[i] for i in range(len(texts))]

    def _cutter(self, states: int) -> Tokenizer:
        """The tokenizer of texts that are each read with so many states."""
        return self._tokenizer

    def _inputs(self, tokens: Tokens, states: int) -> dict[str, np.ndarray]:
        """The `joint` graph's inputs for texts that are each read with so many states."""
        return self._recipe.text.inputs(tokens)


def where_there(
    values: Sequence[T | None], make: Callable[[list[T]], Sequence[U]]
) -> list[U | None]:
    """What `make` makes of the values that are there, in their places, and None in the others."""
    there = [value for value in values if value is not None]
    made = iter(make(there) if there else ())
    return [None if value is None else next(made) for value in values]

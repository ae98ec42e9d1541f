"""Turns what a language model reads into ids and back, by the rules of its tokenizer.

Knows no model. Unlike `tokenizer`, which pads batches for encoders, it joins parts: what a caller
wrote is never read as a special token, what a chat template wrote is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import tokenizers

from tamis.models.errors import ModelError
from tamis.models.runtimes.language import Message


@dataclass(frozen=True, slots=True)
class Texts:
    """A language model's tokenizer. Several threads may use it at once.

    Attributes:
        plain: Reads special tokens that are written out as plain text.
        marked: Reads them as what they are.
        start: The ids that begin every text, usually one or none.
        special: The special tokens, written out.
    """

    plain: tokenizers.Tokenizer
    marked: tokenizers.Tokenizer
    start: tuple[int, ...]
    special: tuple[str, ...]

    @classmethod
    def of(cls, rules: str, *, start_token: str | None = None) -> "Texts":
        """Reads the text of a `tokenizer.json`.

        Args:
            rules: Its text.
            start_token: What a text begins with, if anything.

        Raises:
            ModelError: It is not a tokenizer, or does not know the start token.
        """
        try:
            plain, marked = (tokenizers.Tokenizer.from_str(rules) for _ in range(2))
        except Exception as error:  # tokenizers raises bare Exceptions
            raise ModelError(f"not a tokenizer: {error}") from error
        for tokenizer in (plain, marked):  # the file may bring a length of its own
            tokenizer.no_padding()
            tokenizer.no_truncation()
        plain.encode_special_tokens = True
        start: tuple[int, ...] = ()
        if start_token is not None:
            found = plain.token_to_id(start_token)
            if found is None:
                raise ModelError(f"the start token {start_token!r} is not in the vocabulary")
            start = (found,)
        added = plain.get_added_tokens_decoder().values()
        return cls(plain, marked, start, tuple(t.content for t in added if t.special))

    def ids(self, text: str) -> list[int]:
        """A text's tokens, without special ones."""
        found: list[int] = self.plain.encode(text, add_special_tokens=False).ids
        return found

    def whole(self, text: str) -> list[int]:
        """A text's tokens with those that the model's own rules put around it."""
        found: list[int] = self.plain.encode(text).ids
        return found

    def rendered(self, text: str) -> list[int]:
        """The tokens of what a chat template made; it brings the start token itself, or not."""
        found: list[int] = self.marked.encode(text, add_special_tokens=False).ids
        return found if tuple(found[: len(self.start)]) == self.start else [*self.start, *found]

    def harmless(self, message: Message) -> Message:
        """The message without special tokens: a template's text is read for them."""
        text = message.text
        for mark in self.special:
            text = text.replace(mark, "")
        return Message(message.role, text)

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, without special ones."""
        encodings = self.plain.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        """Each text's beginning of at most `tokens` tokens."""
        encodings = self.plain.encode_batch(list(texts), add_special_tokens=False)
        return [
            text if len(encoding) <= tokens else self._beginning(text, encoding.offsets, tokens)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _beginning(self, text: str, offsets: Sequence[tuple[int, int]], tokens: int) -> str:
        kept = ""
        # The end of a text may be tokenized otherwise once what followed it is gone.
        for last in range(min(tokens, len(offsets)), 0, -1):
            kept = text[: offsets[last - 1][1]]
            if self.counts([kept])[0] <= tokens:
                return kept
        return ""

    def text(self, ids: Sequence[int]) -> str:
        """What the ids stand for, without special tokens."""
        decoded: str = self.plain.decode(list(ids), skip_special_tokens=True)
        return decoded


def up_to(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the marks."""
    places = [place for mark in stop if (place := text.find(mark)) >= 0]
    return text[: min(places)] if places else text

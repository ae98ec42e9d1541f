"""Turns a content into the tokens that a vision-language model reads, by its recipe's templates.

Special tokens are read in templates only: a caller's text that spells one out stays text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tamis.models.errors import ModelError
from tamis.models.runtimes.texts import Texts
from tamis.models.types import Content, Modality, Side

KINDS = tuple(f"{side}_{parts}" for side in Side for parts in ("text", "image", "both"))
TEXT, INSTRUCTION = "{text}", "{instruction}"


@dataclass(frozen=True)
class Prompts:
    """The templates of a model, over its tokenizer.

    Attributes:
        texts: The tokenizer.
        templates: By `kind`: special tokens, words, ``{text}`` and ``{instruction}``. A kind that
            is not there is one that the model does not read.
        image_token: Stands once for a picture, and becomes as many as it has visual tokens.
        instructions: What is wanted where a content does not say, by `kind`.
        max_tokens: Of one prompt, visual tokens included; the text is cut to fit.
    """

    texts: Texts
    templates: Mapping[str, str]
    image_token: str
    instructions: Mapping[str, str]
    max_tokens: int

    def __post_init__(self) -> None:
        if unknown := sorted({*self.templates, *self.instructions} - set(KINDS)):
            raise ModelError(f"templates.{unknown[0]}: unknown; known: {', '.join(KINDS)}")
        if self.image_token not in self._special:
            raise ModelError(f"image_token: {self.image_token!r} is not one of the tokenizer's")

    def pictured(self, kind: str) -> bool:
        """Whether prompts of a kind have a picture, be it a blank one."""
        return self.image_token in self.templates[kind]

    def ids(self, kind: str, content: Content, visual: int) -> list[int]:
        """A content's tokens.

        Args:
            kind: One of the templates'.
            content: What is put into it.
            visual: The visual tokens of its picture; 0 without one.
        """
        instruction = self._cut(self._instruction(kind, content), self.max_tokens // 2)
        text = self._cut(content.text or "", self._room(kind, instruction, visual))
        ids: list[int] = []
        for token in self._ids(kind, text, instruction):
            ids += [token] * visual if token == self.image_id else [token]
        return ids

    def cuts(self, kind: str, content: Content, visual: int) -> bool:
        """Whether the end of the content's text is not read."""
        text = content.text or ""
        room = self._room(kind, self._instruction(kind, content), visual)
        # A token is at least one byte, so a short text need not be counted.
        return len(text.encode()) > room and self.texts.counts([text])[0] > room

    @cached_property
    def image_id(self) -> int:
        """The image token's id."""
        return self._special[self.image_token]

    @cached_property
    def _special(self) -> dict[str, int]:
        added = self.texts.marked.get_added_tokens_decoder()
        return {token.content: token_id for token_id, token in added.items()}

    @cached_property
    def _pieces(self) -> dict[str, list[str]]:
        """Each template, cut at its special tokens."""
        longest_first = sorted(self._special, key=len, reverse=True)
        special = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        return {kind: special.split(template) for kind, template in self.templates.items()}

    def _instruction(self, kind: str, content: Content) -> str:
        return content.instruction or self.instructions.get(kind, "")

    def _ids(self, kind: str, text: str, instruction: str) -> list[int]:
        ids: list[int] = []
        for piece in self._pieces[kind]:
            if piece in self._special:
                ids.append(self._special[piece])
            elif piece:
                ids += self.texts.ids(filled(piece, text, instruction))
        return ids

    def _room(self, kind: str, instruction: str, visual: int) -> int:
        """The tokens that are left for the text."""
        around = len(self._ids(kind, "", instruction)) - self.pictured(kind)
        return max(0, self.max_tokens - around - visual)

    def _cut(self, text: str, tokens: int) -> str:
        if len(text.encode()) <= tokens:  # a token is at least one byte
            return text
        return self.texts.cut([text], tokens)[0]


def kind_of(content: Content, side: Side) -> str:
    """Which template a content needs: ``query_text``, ``document_both`` and so on."""
    parts = sorted(content.modalities - {Modality.VIDEO})
    return f"{side}_{parts[0] if len(parts) == 1 else 'both'}"


def filled(template: str, text: str, instruction: str) -> str:
    """A template with what it leaves open; the space after an absent instruction goes with it."""
    if not instruction:
        template = template.replace(f"{INSTRUCTION} ", "")
    parts: Sequence[str] = re.split(f"({re.escape(TEXT)}|{re.escape(INSTRUCTION)})", template)
    values = {TEXT: text, INSTRUCTION: instruction}
    return "".join(values.get(part, part) for part in parts)

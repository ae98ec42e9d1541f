"""The wordings that checkpoints were trained on or papers used, as data: one TOML file each.

A file's comment states what depends on its words. `prompts.load("monot5")` reads a file of this
folder, and a path that ends in ``.toml`` any other. A file that a search wrote has a `fingerprint`
of the rest, and is refused where they differ.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tamis.models.errors import SettingsError
from tamis.models.runtimes.language import LanguageModel, Message, Prompt

PLACE = re.compile(r"\{([a-z_]+)\}")
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Template:
    """A text with places such as ``{query}``. What is put there is never read as a template."""

    text: str

    @property
    def places(self) -> frozenset[str]:
        """The places' names."""
        return frozenset(PLACE.findall(self.text))

    def fill(self, **values: object) -> str:
        """The text with its places filled.

        Raises:
            SettingsError: The template has a place that none of the values is for.
        """
        if missing := sorted(self.places - values.keys()):
            raise SettingsError(
                f"a prompt has a place {{{missing[0]}}}; known: {', '.join(values)}"
            )
        return PLACE.sub(lambda place: str(values[place.group(1)]), self.text)

    def fit(
        self, model: LanguageModel, room: int, texts: Sequence[str], cut: str, **values: object
    ) -> list[str]:
        """The template filled with each of the texts, in at most `room` tokens where cutting helps.

        Args:
            model: Whose tokens are counted.
            room: Tokens that a filled template may have.
            texts: What goes to the place `cut`; the end of one that is too long is left out.
            cut: That place's name.
            values: What goes to the other places.
        """
        filled = [self.fill(**values, **{cut: text}) for text in texts]
        totals, lengths = model.counts(filled), model.counts(texts)
        for i, (total, length) in enumerate(zip(totals, lengths, strict=True)):
            while total > room and length > 0:
                # Parts may be tokenized otherwise where they meet, so one cut may not be enough.
                length = max(0, length - (total - room))
                (shorter,) = model.cut([texts[i]], length)
                filled[i] = self.fill(**values, **{cut: shorter})
                (total,) = model.counts([filled[i]])
        return filled


@dataclass(frozen=True, slots=True)
class Prompts:
    """One file: templates by name, and conversations as lists of messages.

    Attributes:
        name: The file's, for error messages.
        table: What it says.
    """

    name: str
    table: Mapping[str, object]

    def text(self, key: str) -> str:
        """The text under `key`."""
        text = self.table.get(key)
        if not isinstance(text, str):
            raise SettingsError(f"prompt {self.name}: {key}: expected a text, got {text!r}")
        return text

    def template(self, key: str) -> Template:
        """The template under `key`."""
        return Template(self.text(key))

    def conversation(self, key: str, **values: object) -> tuple[Message, ...]:
        """The messages under `key`, a list of tables of `role` and `text`, with places filled."""
        turns = self.table.get(key)
        if not isinstance(turns, list) or not all(
            isinstance(turn, dict) and {"role", "text"} == turn.keys() for turn in turns
        ):
            raise SettingsError(f"prompt {self.name}: {key}: expected messages, got {turns!r}")
        return tuple(Message(turn["role"], Template(turn["text"]).fill(**values)) for turn in turns)


def load(name: str) -> Prompts:
    """The prompts of a file.

    Raises:
        SettingsError: There is none, it is not TOML, or it is not what its fingerprint is of.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise SettingsError(f"prompt {name!r}: no such file; known: {known}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"prompt {name!r}: {error}") from error
    said = table.get("fingerprint")
    if said is not None and said != fingerprint(table):
        raise SettingsError(
            f"prompt {name!r}: fingerprint: {said!r}, but the rest has {fingerprint(table)!r}: it "
            "was changed after the search; take the fingerprint out to use it as your own"
        )
    return Prompts(name, table)


def save(path: Path, table: Mapping[str, str | float]) -> None:
    """Writes prompts that were searched for, with their fingerprint."""
    said = {**table, "fingerprint": fingerprint(table)}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in said.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def fingerprint(table: Mapping[str, object]) -> str:
    """A digest of all that prompts say but for a fingerprint itself."""
    rest = {key: value for key, value in table.items() if key != "fingerprint"}
    told = json.dumps(rest, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def packaged(name: str) -> Any:
    """A method's field for its prompts: by default those of the file `name`."""
    return field(default_factory=partial(load, name))


def asked(text: str, *, chat: bool = False) -> Prompt:
    """A text as a prompt: as it is, or as the user's turn of a conversation."""
    return Prompt(messages=(Message("user", text),)) if chat else Prompt(text=text)

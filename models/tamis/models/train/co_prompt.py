"""Co-Prompt's search for an instruction: one model proposes its words, another judges them.

A beam of instructions grows by a token a step. The generator says which tokens may follow, so that
what is found can be read; the discriminator, which is the model that will rank, says how well a
document and the instruction explain a query that it is relevant to. Nothing is trained.

    python -m tamis.models.train.co_prompt --pairs PAIRS.jsonl --generator MODEL --out PROMPT.toml
        --discriminator MODEL

writes a prompt file for the setting `prompt` of the reranker ``co_prompt``.

Source: Cho et al., "Discrete Prompt Optimization via Constrained Generation for Zero-shot
Re-ranker", Findings of ACL 2023, https://arxiv.org/abs/2305.13729.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.probability import mean_of_spans
from tamis.models.errors import ModelError, SettingsError, TamisError
from tamis.models.prompts import Prompts, load, save
from tamis.models.runtimes.language import LanguageModel, Prompt
from tamis.models.runtimes.opening import ModelOpener
from tamis.models.runtimes.texts import Texts

WORD = re.compile(r" [A-Za-z]+|[.,:?!]")
SPACES = {"\u0120": " ", "\u2581": " "}  # as byte-level BPE and SentencePiece write a space


class Pair(NamedTuple):
    """A query and a document that is relevant to it."""

    query: str
    document: str


class Found(NamedTuple):
    """An instruction and how well it explains the queries: the higher, the better."""

    instruction: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Search:
    """A beam search over instructions. The same models and pairs give the same one.

    Attributes:
        generator: Proposes tokens.
        discriminator: Scores instructions; the instruction serves this model.
        prompt: Where document, instruction and query stand.
        words: What a step may add, as texts; each is one token of the generator's.
        start: What every instruction begins with.
        length: Steps.
        proposals: Tokens that an instruction may go on with, the generator's likeliest.
        beam: Instructions that are kept from step to step.
        document_tokens: Of a document; what is beyond is left out.
        report: Is told the best of every step.
    """

    generator: LanguageModel
    discriminator: LanguageModel
    prompt: Prompts
    words: Sequence[str]
    start: str = "Please"
    length: int = 10
    proposals: int = 10
    beam: int = 10
    document_tokens: int = 900
    report: Callable[[Found], None] = lambda found: None

    def __post_init__(self) -> None:
        for key in ("length", "proposals", "beam", "document_tokens"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, not {getattr(self, key)}")
        if not self.start or not self.words:
            raise ValueError("start and words must not be empty")

    def run(self, pairs: Sequence[Pair]) -> Found:
        """The best instruction of any length.

        Raises:
            SettingsError: There are no pairs, or a word is no single token of the generator's.
        """
        if not pairs:
            raise SettingsError("pairs: there are none")
        ids = self._ids()
        best = Found(self.start, self._score(self.start, pairs))
        kept = [best.instruction]
        for _ in range(self.length):
            longer = sorted({text for own in self._proposed(kept, ids) for text in own})
            scored = [Found(text, self._score(text, pairs)) for text in longer]
            scored.sort(key=lambda found: -found.score)  # stable: ties in the order of the words
            kept = [found.instruction for found in scored[: self.beam]]
            best = max(best, scored[0], key=lambda found: found.score)
            self.report(scored[0])
        return best

    def _ids(self) -> list[int]:
        ids = [self.generator.token_ids(word) for word in self.words]
        for word, own in zip(self.words, ids, strict=True):
            if len(own) != 1:
                raise SettingsError(f"words: {word!r} is {len(own)} tokens of the generator's")
        return [token for (token,) in ids]

    def _proposed(self, kept: Sequence[str], ids: Sequence[int]) -> Iterator[list[str]]:
        """Each instruction with each of the tokens that are likeliest to follow it."""
        told = self.generator.token_log_probabilities([Prompt(text=text) for text in kept], ids)
        for text, own in zip(kept, told, strict=True):
            likeliest = np.argsort(-own, kind="stable")[: self.proposals]
            yield [text + self.words[i] for i in likeliest]

    def _score(self, instruction: str, pairs: Sequence[Pair]) -> float:
        """The mean over the pairs of the query's mean log-probability, as the reranker has it."""
        return float(self._scores(instruction, pairs).mean())

    def _scores(self, instruction: str, pairs: Sequence[Pair]) -> Float[np.ndarray, " pairs"]:
        document, span = self.prompt.template("document"), self.prompt.template("span")
        texts = self.discriminator.cut([pair.document for pair in pairs], self.document_tokens)
        told = [
            Prompt(text=document.fill(document=text, instruction=instruction)) for text in texts
        ]
        spans = [span.fill(query=pair.query) for pair in pairs]
        return mean_of_spans(self.discriminator.span_log_likelihoods(told, spans))


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file: one JSON object a line, with ``query`` and ``document``.

    Raises:
        SettingsError: The file is missing, or a line is no such object.
    """
    pairs = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except ValueError as error:
            raise SettingsError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(said, dict):
            said = {}
        match said.get("query"), said.get("document"):
            case str(query), str(document):
                pairs.append(Pair(query, document))
            case _:
                raise SettingsError(f"{path}:{number}: expected the texts query and document")
    return pairs


def words_of(tokenizer: Path) -> list[str]:
    """The English words and marks of a `tokenizer.json` that are one token each.

    Raises:
        SettingsError: The file is missing or no tokenizer, or has none that can be read.
    """
    try:
        texts = Texts.of(tokenizer.read_text(encoding="utf-8"))
    except (OSError, ModelError) as error:
        raise SettingsError(f"{tokenizer}: cannot be read: {error}") from error
    told = {
        "".join(SPACES.get(letter, letter) for letter in token): own
        for token, own in texts.plain.get_vocab().items()
    }
    words = [word for word in told if WORD.fullmatch(word) and texts.ids(word) == [told[word]]]
    if not words:
        raise SettingsError(f"{tokenizer}: has no words with a space before them")
    return sorted(words)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tamis.models.train.co_prompt",
        description="Searches for the instruction of the reranker co_prompt.",
    )
    parser.add_argument("--generator", required=True, help="a folder: proposes words")
    parser.add_argument("--discriminator", required=True, help="a folder: the model that ranks")
    parser.add_argument("--pairs", type=Path, required=True, help="JSON lines: query, document")
    parser.add_argument("--out", type=Path, required=True, help="the prompt file to write")
    parser.add_argument("--prompt", default="co_prompt", help="where the instruction stands")
    parser.add_argument("--start", default=Search.start, help="what an instruction begins with")
    for key in ("length", "proposals", "beam", "document_tokens"):
        parser.add_argument(
            f"--{key.replace('_', '-')}", type=int, default=getattr(Search, key), dest=key
        )
    said = parser.parse_args(arguments)
    try:
        opened = ModelOpener().openers[LanguageModel]
        prompt, pairs = load(said.prompt), read_pairs(said.pairs)
        found = Search(
            generator=opened(said.generator),
            discriminator=opened(said.discriminator),
            prompt=prompt,
            words=words_of(Path(said.generator) / "tokenizer.json"),
            start=said.start,
            length=said.length,
            proposals=said.proposals,
            beam=said.beam,
            document_tokens=said.document_tokens,
            report=lambda best: print(f"{best.score:.4f} {best.instruction}", flush=True),
        ).run(pairs)
    except (TamisError, ValueError) as error:
        sys.exit(f"error: {error}")
    table = {key: prompt.text(key) for key in ("document", "span")}
    names = {key: Path(getattr(said, key)).name for key in ("generator", "discriminator")}
    save(said.out, {**table, "instruction": found.instruction, "score": found.score, **names})
    print(f"{said.out}: {found.instruction!r}, {found.score:.4f} over {len(pairs)} pairs")


if __name__ == "__main__":
    main()

"""DemoRank shows a language model examples that fit the question, chosen in two stages.

A bi-encoder finds demonstrations in a pool, a cross-encoder orders them, and the best are written
before the input. One set a query is the form to serve; one set a pair is the paper's, at a pass of
the cross-encoder for every candidate and demonstration.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.probability import first_of_two
from tamis.models.blocks.similarity import unit
from tamis.models.blocks.topk import top_k
from tamis.models.encoders import TokenEncoder
from tamis.models.errors import ModelError
from tamis.models.prompts import Prompts, packaged
from tamis.models.rerankers import TextReranker
from tamis.models.runtimes.language import CrossEncoder, LanguageModel, Prompt, first_token
from tamis.models.types import Paper

__all__ = ("DemoRank",)

KEYS = ("query", "document", "output")


@dataclass(frozen=True, kw_only=True)
class DemoRank(TextReranker):
    """The probability of "Yes" against "No" after demonstrations and input.

    Attributes:
        model: What answers.
        demonstrations: A file with one JSON object a line: query, document and output (Yes or No).
        retriever: What finds demonstrations by the cosine of mean states; unset for the pool's
            first ones.
        ranker: A cross-encoder over input and demonstration that orders them; unset to keep them
            as they were found.
        prompt: The words and answers.
        found: Demonstrations that the retriever finds.
        shots: Demonstrations that are shown, the best first.
        per_pair: Whether each candidate gets demonstrations of its own.
        document_tokens: Of a document; what is beyond is left out.
    """

    paper: ClassVar = Paper(
        "DemoRank: Selecting Effective Demonstrations for Large Language Models in Ranking Task",
        2024,
        "https://arxiv.org/abs/2406.16332",
    )
    checked: ClassVar = "scorers of given answers: the selection and the prompt, to the letter"
    departs: ClassVar = "by default demonstrations are chosen once a query, by the query alone"

    model: LanguageModel
    demonstrations: str
    retriever: TokenEncoder | None = None
    ranker: CrossEncoder | None = None
    prompt: Prompts = packaged("demorank")
    found: int = 50
    shots: int = 3
    per_pair: bool = False
    document_tokens: int = 130

    def __post_init__(self) -> None:
        if not 0 <= self.shots <= self.found:
            raise ValueError(f"needs 0 <= shots <= found, not {self.shots}, {self.found}")
        _ = self._pool  # a missing file is found now, not by a query

    @cached_property
    def _pool(self) -> list[str]:
        """The demonstrations, as they are written in a prompt."""
        path, template = Path(self.demonstrations), self.prompt.template("demonstration")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
            return [template.fill(**{key: str(row[key]) for key in KEYS}) for row in rows]
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read: {error}") from error
        except (KeyError, TypeError) as error:
            raise ModelError(f"{path}: a line lacks one of {', '.join(KEYS)}") from error

    @cached_property
    def _embedded(self) -> Float[np.ndarray, "pool dim"]:
        return self._vectors(self._pool)

    def score_texts(self, query: str, texts: list[str]) -> Float[np.ndarray, " texts"]:
        template, told = self.prompt.template("input"), self.model.cut(texts, self.document_tokens)
        inputs = [template.fill(query=query, document=text) for text in told]
        if self.per_pair:
            shown = [self._chosen(own) for own in inputs]
        else:
            shown = [self._chosen(query)] * len(inputs)
        prompts = [
            Prompt(prefix=before, text=own) for before, own in zip(shown, inputs, strict=True)
        ]
        answers = [first_token(self.model, self.prompt.text(key)) for key in ("yes", "no")]
        return first_of_two(self.model.token_log_probabilities(prompts, answers))

    def _chosen(self, asked: str) -> str:
        """The best demonstrations for an input, one after the other."""
        places = np.arange(min(self.found, len(self._pool)))
        if self.retriever is not None and self._pool:
            places = top_k(self._embedded @ self._vectors([asked])[0], self.found)
        if self.ranker is not None and len(places):
            logits = self.ranker.logits([(asked, self._pool[place]) for place in places])
            places = places[top_k(logits[:, -1], self.shots)]
        return "".join(self._pool[place] for place in places[: self.shots])

    def _vectors(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        assert self.retriever is not None  # noqa: S101 - the caller has looked
        return unit(np.stack([s.states.mean(axis=0) for s in self.retriever.token_states(texts)]))

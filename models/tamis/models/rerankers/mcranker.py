"""MCRanker lets a language model play several annotators, each with criteria of its own.

The annotators and their criteria depend on the query alone, so they are asked for once.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.answers import first_object, score, texts
from tamis.models.prompts import Prompts, asked, packaged
from tamis.models.rerankers import TextReranker
from tamis.models.runtimes.language import LanguageModel
from tamis.models.types import Paper

__all__ = ("MCRanker",)

LOW, MIDDLE, HIGH = 0.0, 5.0, 10.0
REMEMBERED = 64  # queries whose annotators are kept

Annotators = dict[str, str]  # who they are, and their criteria


@dataclass(frozen=True, kw_only=True)
class MCRanker(TextReranker):
    """The score of an assessor who sees those of the annotators, or their sum.

    A score that cannot be read counts as the middle of the scale.

    Attributes:
        model: What plays the annotators; it is to write JSON.
        prompt: The words of all questions.
        assessor: Whether one more prompt a document turns the scores into the final one; otherwise
            they are summed, as the authors' code does.
        recruited: Annotators besides the scientist, who is always there.
        document_tokens: Of a document; what is beyond is left out.
        answer_tokens: Of an answer.
        chat: Whether the model is asked in its own chat template.
    """

    paper: ClassVar = Paper(
        "MCRanker: Generating Diverse Criteria On-the-Fly to Improve Point-wise LLM Rankers",
        2024,
        "https://arxiv.org/abs/2404.11960",
    )
    checked: ClassVar = "a model of given answers: calls, repair of JSON, fold and ties"
    departs: ClassVar = (
        "the prompts are our wording; all candidates are scored, where the authors' code stops "
        "after 30"
    )

    model: LanguageModel
    prompt: Prompts = packaged("mcranker")
    assessor: bool = True
    recruited: int = 2
    document_tokens: int = 300
    answer_tokens: int = 256
    chat: bool = True

    @cached_property
    def _known(self) -> OrderedDict[str, Annotators]:
        return OrderedDict()

    def score_texts(self, query: str, documents: list[str]) -> Float[np.ndarray, " texts"]:
        told = self.model.cut(documents, self.document_tokens)
        annotators = self._annotators(query, told[0])
        template = self.prompt.template("score")
        questions = [
            template.fill(identity=who, criteria=criteria, query=query, document=document)
            for document in told
            for who, criteria in annotators.items()
        ]
        read = [score(answer, low=LOW, high=HIGH) for answer in self._answers(questions)]
        each = np.array([MIDDLE if one is None else one for one in read], dtype=np.float64)
        each = each.reshape(len(told), len(annotators))
        return self._assessed(query, told, each) if self.assessor else each.sum(axis=1)

    def _assessed(
        self, query: str, documents: list[str], each: Float[np.ndarray, "texts annotators"]
    ) -> Float[np.ndarray, " texts"]:
        """The assessor's scores; the mean of the annotators' where the answer has none."""
        template = self.prompt.template("assessor")
        questions = [
            template.fill(query=query, document=document, scores=", ".join(f"{s:g}" for s in own))
            for document, own in zip(documents, each, strict=True)
        ]
        read = [score(answer, low=LOW, high=HIGH) for answer in self._answers(questions)]
        means = each.mean(axis=1)
        return np.array([mean if s is None else s for s, mean in zip(read, means, strict=True)])

    def _annotators(self, query: str, document: str) -> Annotators:
        """Who judges this query, by which criteria; remembered, for candidates come in parts."""
        if (known := self._known.get(query)) is not None:
            return known
        who = self.prompt.template("identities").fill(query=query, document=document)
        found = texts(first_object(self._answers([who])[0]).get("identities"))
        identities = dict.fromkeys([*found[: self.recruited], self.prompt.text("scientist")])
        template = self.prompt.template("criteria")
        answers = self._answers([template.fill(identity=own, query=query) for own in identities])
        # An answer that is no JSON is still a list of criteria to the one who gave it.
        told = [texts(first_object(one).get("criteria")) or [one.strip()] for one in answers]
        annotators = dict(zip(identities, map("\n".join, told), strict=True))
        self._known[query] = annotators
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return annotators

    def _answers(self, questions: Sequence[str]) -> list[str]:
        prompts = [asked(question, chat=self.chat) for question in questions]
        return self.model.generate(prompts, max_tokens=self.answer_tokens)

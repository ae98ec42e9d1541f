"""CREAM goes from coarse to fine: vectors find pieces of documents, a language model orders them.

The coarse half is the retriever of the pipeline; this is the fine one. The model orders groups,
and the best of each meet in further groups, so that no prompt grows with the candidates:

    [pipelines.cream.retrieve]
    method = "dense"
    settings = { vector = "minilm.dense" }
    [pipelines.cream.rerank]
    method = "cream"
    settings = { model = "artifacts/llm" }
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models import ranking
from tamis.models.blocks.permutations import after_reasoning, parse_numbers
from tamis.models.prompts import Prompts, asked, packaged
from tamis.models.ranking.screening import screening
from tamis.models.rerankers import PlannedReranker
from tamis.models.runtimes.language import LanguageModel
from tamis.models.types import Candidate, Paper, Query

__all__ = ("CREAM",)

DIGITS = 6  # tokens that one number of an answer may take, with its brackets


@dataclass(frozen=True, kw_only=True)
class CREAM(PlannedReranker[Sequence[int]]):
    """Rounds of groups that a language model orders.

    Attributes:
        model: What orders them.
        prompt: The words of the question.
        group: Pieces that one prompt shows.
        keep: Pieces of a group that go on from the first round, and two less from each further one.
        piece_tokens: Of one piece; what is beyond is left out.
        chat: Whether the model is asked in its own chat template.
    """

    paper: ClassVar = Paper(
        "CREAM: Coarse-to-Fine Retrieval and Multi-modal Efficient Tuning for Document VQA",
        2024,
        "https://doi.org/10.1145/3664647.3680750",
    )
    checked: ClassVar = "the paper's rounds, with an oracle that orders each group"
    departs: ClassVar = (
        "groups are mixed by dealing out, not at random, and the last one is ordered once more; "
        "the model is any that writes an order, instead of RankVicuna; the pooling of pages inside "
        "the answering model is not retrieval"
    )

    model: LanguageModel
    prompt: Prompts = packaged("cream")
    group: int = 8
    keep: int = 5
    piece_tokens: int = 256
    chat: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.keep < self.group:
            raise ValueError(f"needs 1 <= keep < group, not {self.keep}, {self.group}")

    def plan(self, query: Query, candidates: Sequence[Candidate]) -> ranking.Plan[Sequence[int]]:
        return screening(len(candidates), size=self.group, keep=self.keep)

    def ask(
        self, query: Query, shown: Sequence[Sequence[Candidate]]
    ) -> Sequence[Sequence[int] | None]:
        texts = [self._text(query.content.text or "", group) for group in shown]
        prompts = [asked(text, chat=self.chat) for text in texts]
        answers = self.model.generate(prompts, max_tokens=DIGITS * self.group)
        pairs = zip(answers, shown, strict=True)
        return [parse_numbers(after_reasoning(answer), len(group)) for answer, group in pairs]

    def _text(self, query: str, group: Sequence[Candidate]) -> str:
        texts = self.model.cut([one.content.text or "" for one in group], self.piece_tokens)
        piece = self.prompt.template("piece")
        pieces = (piece.fill(number=i, document=text) for i, text in enumerate(texts, start=1))
        return self.prompt.template("prompt").fill(
            query=query, count=len(texts), pieces="\n".join(pieces)
        )

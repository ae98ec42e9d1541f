"""RagVL asks a vision-language model whether an image is relevant, and trusts it above a threshold.

The image comes first, so that its state is kept and only the question is read for a new query.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.probability import first_of_two
from tamis.models.prompts import Prompts, packaged
from tamis.models.rerankers import ImageReranker
from tamis.models.runtimes.language import LanguageModel, Message, Prompt, first_token
from tamis.models.types import Candidate, Paper

__all__ = ("RagVL",)


@dataclass(frozen=True, kw_only=True)
class RagVL(ImageReranker):
    """The probability of "Yes" against "No" at the answer's first token.

    Candidates below the threshold score -inf, and follow in their old order: what reads the ranking
    can leave them out. So does a candidate without an image.

    Attributes:
        model: A model that reads images.
        prompt: The question, the words for a caption, and the two answers.
        threshold: The paper's eta, from 0 to 1, which `blocks.calibration` finds; 0 keeps all.
        captions: Whether a candidate's text is told as its image's caption.
        caption_tokens: Of a caption; what is beyond is left out.
        chat: Whether the model is asked in its own chat template.
    """

    paper: ClassVar = Paper(
        "MLLM Is a Strong Reranker: Advancing Multimodal Retrieval-augmented Generation via "
        "Knowledge-enhanced Reranking and Noise-injected Training",
        2024,
        "https://arxiv.org/abs/2407.21439",
    )
    checked: ClassVar = "the first step of transformers' LlavaForConditionalGeneration"
    departs: ClassVar = "only the first step is run, where the authors' code generates an answer"

    model: LanguageModel
    prompt: Prompts = packaged("ragvl")
    threshold: float = 0.0
    captions: bool = True
    caption_tokens: int = 128
    chat: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1, not {self.threshold}")

    def score_images(self, query: str, seen: list[Candidate]) -> Float[np.ndarray, " seen"]:
        shown = [self._prompt(query, one) for one in seen]
        answers = [first_token(self.model, self.prompt.text(key)) for key in ("yes", "no")]
        sure = first_of_two(self.model.token_log_probabilities(shown, answers))
        return np.where(sure >= self.threshold, sure, -np.inf)

    def _prompt(self, query: str, candidate: Candidate) -> Prompt:
        caption, image = candidate.content.text if self.captions else None, candidate.content.image
        (caption,) = self.model.cut([caption or ""], self.caption_tokens)
        told = self.prompt.template("caption").fill(caption=caption) if caption else ""
        asked = self.prompt.template("prompt").fill(query=query)
        images = (image,) if image is not None else ()
        if self.chat:
            return Prompt(images=images, messages=(Message("user", told + asked),))
        return Prompt(images=images, prefix=told, text=asked)

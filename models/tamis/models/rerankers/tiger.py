"""TIGeR orders images by how likely a model finds the query as their description.

The images of a gallery do not depend on the query, so their state is kept from search to search.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.prompts import Prompts, packaged
from tamis.models.rerankers import ImageReranker
from tamis.models.runtimes.language import LanguageModel, Message, Prompt
from tamis.models.types import Candidate, Paper

__all__ = ("TIGeR",)


@dataclass(frozen=True, kw_only=True)
class TIGeR(ImageReranker):
    """The reverse proxy, log p(query | image): the sum over the query's tokens.

    A candidate without an image scores -inf.

    Attributes:
        model: A model that reads images.
        prompt: What it is asked about an image.
        chat: Whether it is asked in its own chat template.
    """

    paper: ClassVar = Paper(
        "Unified Text-to-Image Generation and Retrieval",
        2024,
        "https://arxiv.org/abs/2406.05814",
    )
    checked: ClassVar = (
        "the cross-entropy of transformers' LlavaForConditionalGeneration over the query"
    )
    departs: ClassVar = (
        "the model reads pixels, where the authors' read the discrete codes of SEED or LaVIT; the "
        "forward search over codes, which finds candidates, is the retriever's part"
    )

    model: LanguageModel
    prompt: Prompts = packaged("tiger")
    chat: bool = True

    def score_images(self, query: str, seen: list[Candidate]) -> Float[np.ndarray, " seen"]:
        asked, span = self.prompt.text("prompt"), self.prompt.template("span")
        told = [(image,) for one in seen if (image := one.content.image) is not None]
        shown = [
            Prompt(images=images, messages=(Message("user", asked),))
            if self.chat
            else Prompt(images=images, text=asked)
            for images in told
        ]
        spans = [span.fill(query=query)] * len(seen)
        return np.array([own.sum() for own in self.model.span_log_likelihoods(shown, spans)])

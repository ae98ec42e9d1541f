"""TIGeR orders images by how likely a model finds the query as their description.

The images of a gallery do not depend on the query, so their state is kept from search to search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.prompts import Prompts, packaged
from tamis.models.ranking import AT_ONCE
from tamis.models.rerankers import PointwiseReranker
from tamis.models.runtimes.language import LanguageModel, Message, Prompt
from tamis.models.types import Candidate, Paper, Query

__all__ = ("TIGeR",)


@dataclass(frozen=True, kw_only=True)
class TIGeR(PointwiseReranker):
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
    reads_images: ClassVar = True
    at_once: ClassVar = AT_ONCE

    model: LanguageModel
    prompt: Prompts = packaged("tiger")
    chat: bool = True

    def score(
        self, query: Query, candidates: Sequence[Candidate]
    ) -> Float[np.ndarray, " candidates"]:
        scores = np.full(len(candidates), -np.inf)
        seen = [i for i, one in enumerate(candidates) if one.content.image is not None]
        if query.content.text is None or not seen:
            return scores
        asked, span = self.prompt.text("prompt"), self.prompt.template("span")
        told = [(image,) for i in seen if (image := candidates[i].content.image) is not None]
        shown = [
            Prompt(images=images, messages=(Message("user", asked),))
            if self.chat
            else Prompt(images=images, text=asked)
            for images in told
        ]
        spans = [span.fill(query=query.content.text)] * len(seen)
        scores[seen] = [own.sum() for own in self.model.span_log_likelihoods(shown, spans)]
        return scores

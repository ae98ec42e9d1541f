"""Asks a language model which of two passages answers a query better."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from tamis.models.prompts import Prompts, asked
from tamis.models.runtimes.language import LanguageModel, first_token
from tamis.models.types import Candidate, Query


def preferences(
    model: LanguageModel,
    prompt: Prompts,
    query: Query,
    shown: Sequence[Sequence[Candidate]],
    *,
    query_tokens: int,
    passage_tokens: int,
    chat: bool = False,
) -> Float[np.ndarray, "pairs 2"] | None:
    """Log-probabilities that the model names the first or the second passage of each pair.

    Over the whole vocabulary, so that they need not sum to 1. A candidate without a text is an
    empty passage.

    Args:
        model: Any language model.
        prompt: A file like ``prp``.
        query: What is asked; None is returned where it has no text.
        shown: Pairs, in the order of the prompt.
        query_tokens: Of the query, at most; the rest is left out.
        passage_tokens: Of each passage, at most.
        chat: Whether the prompt is a user's turn of a conversation.
    """
    if query.content.text is None:
        return None
    texts = [candidate.content.text or "" for pair in shown for candidate in pair]
    (question,) = model.cut([query.content.text], query_tokens)
    passages = model.cut(texts, passage_tokens)
    template, answer = prompt.template("prompt"), prompt.text("answer")
    prompts = [
        replace(
            asked(template.fill(query=question, first=first, second=second), chat=chat),
            answer=answer,
        )
        for first, second in zip(passages[::2], passages[1::2], strict=True)
    ]
    labels = [first_token(model, prompt.text(key)) for key in ("first", "second")]
    return model.token_log_probabilities(prompts, labels)

"""Several questions of one picture in one sequence, which is many times cheaper than one each.

A picture's visual tokens stand once; its questions follow side by side. Each sees the picture and
itself, and stands at the positions that it would have alone, so that its answer is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from tamis.models.train.easy_vqa import Question, Words

BEFORE = 1  # <bos>, before the picture
# The backgrounds are near white: they become small numbers, and what is drawn on them large ones.
MEAN, SCALE = 255.0, 127.5
UNANSWERED = -100


@dataclass(frozen=True, slots=True)
class Packed:
    """Pictures' questions, a row a picture, padded at the end.

    Attributes:
        words: Ids.
        offsets: A word's place in its own question.
        owners: Which of its picture's questions a word is of; -1 for padding.
        answers: At each question's last word the answer's id, else `UNANSWERED`.
    """

    words: Int[Tensor, "pictures words"]
    offsets: Int[Tensor, "pictures words"]
    owners: Int[Tensor, "pictures words"]
    answers: Int[Tensor, "pictures words"]


def packed(groups: Sequence[Sequence[Question]], words: Words) -> Packed:
    """One row a picture, with the questions that it is asked; at least one."""
    rows = []
    for questions in groups:
        row: list[tuple[int, int, int, int]] = []
        for owner, question in enumerate(questions):
            ids = words.ids(question.text)
            (answer,) = words.ids(question.answer)
            answers = [UNANSWERED] * (len(ids) - 1) + [answer]
            row += zip(ids, range(len(ids)), [owner] * len(ids), answers, strict=True)
        rows.append(row)
    longest = max(map(len, rows))
    padding = (words.ids("<pad>")[0], 0, -1, UNANSWERED)
    table = np.array([row + [padding] * (longest - len(row)) for row in rows])
    return Packed(*torch.from_numpy(table).permute(2, 0, 1).contiguous())


def pixels(
    pictures: UInt8[np.ndarray, "pictures height width 3"],
) -> Float[Tensor, "pictures 3 height width"]:
    """Pictures as the model reads them: white is 0, black -2."""
    planes = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    return (planes.float() - MEAN) / SCALE


def visible(owners: Int[Tensor, "pictures words"], prefix: int) -> Bool[Tensor, "pictures 1 n n"]:
    """Which places (columns) a place (row) attends to, after `prefix` that all words see."""
    pictures, words = owners.shape
    length = prefix + words
    seen = torch.ones(pictures, length, length, dtype=torch.bool)
    seen[:, prefix:, prefix:] = owners[:, :, None] == owners[:, None, :]
    return seen.tril()[:, None]


def logits(
    model: LlavaForConditionalGeneration,
    visual: Float[Tensor, "pictures visual width"],
    asked: Packed,
) -> Float[Tensor, "questions vocabulary"]:
    """What the model answers to each question, row by row of `asked`.

    Args:
        model: The model.
        visual: Each picture's visual tokens, after the projector.
        asked: The questions of each.
    """
    embed = model.get_input_embeddings()
    pictures, count = visual.shape[:2]
    start = torch.full((pictures, BEFORE), model.config.get_text_config().bos_token_id)
    prefix = torch.arange(BEFORE + count)
    states = model.model.language_model(
        inputs_embeds=torch.cat([embed(start), visual, embed(asked.words)], dim=1),
        attention_mask=visible(asked.owners, len(prefix)),
        position_ids=torch.cat([prefix.expand(pictures, -1), len(prefix) + asked.offsets], dim=1),
        use_cache=False,
    ).last_hidden_state
    made: Tensor = model.lm_head(states[:, len(prefix) :][asked.answers != UNANSWERED])
    return made

"""How many of easy-VQA's test questions the small vision-language model answers rightly.

python -m tamis.models.train.mini_vlm_accuracy
"""

import argparse
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration

from tamis.models.train.easy_vqa import EasyVqa, Words, read
from tamis.models.train.mini_vlm_model import WEIGHTS, load
from tamis.models.train.shared_picture import UNANSWERED, logits, packed, pixels
from tamis.models.train.stamps import CACHE


@torch.no_grad()
def accuracy(
    model: LlavaForConditionalGeneration, words: Words, data: EasyVqa, batch: int = 50
) -> float:
    """The share of a side's questions that are answered rightly.

    Args:
        model: The model, in evaluation mode.
        words: Its vocabulary.
        data: The pictures and questions.
        batch: Pictures at once.
    """
    right = 0
    for start in range(0, len(data.pictures), batch):
        asked = packed(data.by_picture[start : start + batch], words)
        seen = model.get_image_features(pixels(data.pictures[start : start + batch]))
        made = logits(model, torch.stack(tuple(seen.pooler_output)), asked).argmax(1)
        right += int((made == asked.answers[asked.answers != UNANSWERED]).sum())
    return right / len(data.questions)


def main() -> None:
    """Prints the accuracy."""
    parser = argparse.ArgumentParser(description="Accuracy of the small vision-language model.")
    parser.add_argument("--cache", type=Path, default=CACHE, help="for what is fetched")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    asked = parser.parse_args()
    model, words = load(asked.weights)
    data = read(asked.cache)["test"]
    share = accuracy(model, words, data)
    print(f"{share:.4f} of {len(data.questions)} test questions answered rightly")


if __name__ == "__main__":
    main()

"""What exporters of text towers share: the tokenizer's file, lengths, and texts to compare on."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.runtimes.tokenizer import Tokenizer

BATCH = 8
VOCABULARIES = frozenset(
    ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
)
LENGTHS = {0: "texts", 1: "length"}
DYNAMIC = {"input_ids": LENGTHS, "attention_mask": LENGTHS}
# Pairs that belong together, so that an effect on neighbours can be seen.
TEXTS = (
    "A red bicycle leans on a wall.",
    "Somebody left a crimson bike standing against the bricks.",
    "The committee raised interest rates by a quarter of a point.",
    "Borrowing became more expensive after the central bank's decision.",
    "How do vaccines train the immune system?",
    "An injection shows the body a harmless piece of a virus, and it learns to fight it.",
    "Zwei Äpfel liegen auf dem Tisch, und 東京 ist weit weg.",
    "Apples on a table; a café in Tokyo: 3.14 & more!",
    "What is the tallest mountain on Earth?",
    "Mount Everest rises 8,849 metres above the sea.",
    "Bake the bread at 220 degrees until the crust is brown.",
    "A loaf is done when it sounds hollow from below.",
    "The orchestra rehearsed the slow movement twice.",
    "Violins and horns practised an adagio all morning.",
    "Rain is expected in the north tomorrow, with strong winds on the coast.",
    "Take an umbrella if you travel to the seaside.",
    "def area(radius): return 3.14159 * radius ** 2",
    "A function that computes how large a circle is.",
    "The court held that the contract was void.",
    "Judges decided that nobody was bound by the agreement.",
    "Whales sing to each other over hundreds of miles.",
    "Songs of the humpback travel far through the ocean.",
    "x",
    "The letter that comes before y.",
    "The striker scored in the last minute and the stadium shook.",
    "A late goal won the match.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen. " * 6,
    "Plants make food from sunshine.",
    "She forgot the password and could not open her e-mail.",
    "Locked out of an account: how to reset your credentials.",
    "The museum keeps a sword from the twelfth century.",
    "Medieval weapons are on show in the gallery.",
)


def put_tokenizer(checkpoint: Checkpoint, draft: Draft) -> None:
    """Writes `tokenizer.json`; made of a checkpoint's older files where it has none.

    Raises:
        ModelError: The checkpoint has no tokenizer that can be had as one file.
    """
    path = checkpoint.folder / "tokenizer.json"
    if path.exists():
        draft.copy(path)
        return
    if not VOCABULARIES & checkpoint.files:  # transformers would make one that knows no word
        raise ModelError(f"{path}: no such file, and none that it could be made of")
    from transformers import AutoTokenizer

    try:
        made = AutoTokenizer.from_pretrained(checkpoint.folder, use_fast=True)
        made.backend_tokenizer.save(str(draft.folder / "tokenizer.json"))
    except Exception as error:  # transformers raises what it likes at files that are not there
        raise ModelError(f"{path}: no such file, and none can be made: {error}") from error


def max_tokens(checkpoint: Checkpoint, positions: int) -> int:
    """How many tokens of a text are read: what the model was trained with, or has places for."""
    trained = checkpoint.table("sentence_bert_config.json").get("max_seq_length")
    told = checkpoint.table("tokenizer_config.json").get("model_max_length")
    return min(int(limit) for limit in (trained or told, positions) if limit)


def text_cases(
    draft: Draft, limit: int, texts: Sequence[str | tuple[str, str]] = TEXTS
) -> list[Mapping[str, Tensor]]:
    """Batches of real texts, through the draft's tokenizer."""
    tokenizer = Tokenizer.open(draft.folder, max_length=limit)
    batches = [texts[first : first + BATCH] for first in range(0, len(texts), BATCH)]
    made = [tokenizer.encode(batch).inputs() for batch in batches]
    return [{name: torch.from_numpy(own) for name, own in one.items()} for one in made]


def drawn_cases(vocabulary: int, limit: int) -> list[Mapping[str, Tensor]]:
    """Random tokens: one short text, and a batch up to the longest that is read."""
    seeded = torch.Generator().manual_seed(0)
    cases: list[Mapping[str, Tensor]] = []
    for texts, length in ((1, 3), (3, limit)):
        lengths = torch.randint(1, length + 1, (texts, 1), generator=seeded)
        mask = (torch.arange(length) < lengths).long()
        mask[0] = 1
        ids = torch.randint(0, vocabulary, (texts, length), generator=seeded)
        cases.append({"input_ids": ids * mask, "attention_mask": mask})
    return cases

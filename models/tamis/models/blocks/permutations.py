"""Orders that language models write, made whole: whatever was written, each place comes once."""

import math
import unicodedata
from collections.abc import Iterable, Sequence


def repaired(places: Iterable[int], count: int) -> tuple[int, ...]:
    """The places from 0 to `count - 1`, each once.

    Repeated ones count where they stand first, others than these do not count, and those that are
    missing follow in rising order.
    """
    named = [place for place in dict.fromkeys(places) if 0 <= place < count]
    return (*named, *(place for place in range(count) if place not in {*named}))


def by_score(places: Sequence[int], scores: Sequence[float], count: int) -> tuple[int, ...]:
    """The places by falling score; one that has several counts by its highest.

    Ties stay in the order in which they are given. What is no number counts as the lowest score.
    """
    keys = [math.inf if math.isnan(score) else -score for score in scores]
    return repaired((places[i] for i in sorted(range(len(places)), key=keys.__getitem__)), count)


def parse_numbers(text: str, count: int) -> tuple[int, ...]:
    """The order that a text such as ``[2] > [1] > [3]`` names, counting from 1.

    Every run of digits counts as a number, wherever it stands. Digits of any script are read, and
    so are those in circles, in brackets and as exponents.
    """
    return _named("".join(_digit(character) for character in text), count)


def parse_letters(text: str, count: int) -> tuple[int, ...]:
    """The order that a text such as ``[B] > [A] > [C]`` names, A being the first.

    As published: letters that stand together are written as one number, ``BA`` as 21, so that most
    words are out of range.
    """
    return _named("".join(_number(character) for character in text), count)


def after_reasoning(text: str) -> str:
    """What a reasoning model writes after its last ``</think>``; all of it where there is none."""
    return text.rpartition("</think>")[2]


def _named(digits: str, count: int) -> tuple[int, ...]:
    """The order of some numbers apart by blanks, counting from 1."""
    # Longer than the largest place is out of range, and may be too long to be read at all.
    numbers = (run.lstrip("0") for run in digits.split())
    return repaired((int(n) - 1 for n in numbers if 0 < len(n) <= len(str(count))), count)


def _number(character: str) -> str:
    return str(ord(character) - ord("A") + 1) if character.isalpha() else " "


def _digit(character: str) -> str:
    value = unicodedata.digit(character, None)
    return " " if value is None else str(value)

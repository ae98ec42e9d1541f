"""Reads JSON out of what a language model wrote, whatever it wrote around or instead of it."""

import json
import re
from typing import Any

NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
BEGINNINGS = 20  # braces that are tried: what models write has a few


def first_object(text: str) -> dict[str, Any]:
    """The first JSON object in a text; an empty one where there is none."""
    place = -1
    for _ in range(BEGINNINGS):
        place = text.find("{", place + 1)
        if place < 0:
            break
        try:
            found, _ = json.JSONDecoder().raw_decode(text, place)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def texts(value: Any) -> list[str]:
    """The texts of a list, stripped; those of its objects are joined. Anything else has none."""
    if not isinstance(value, list):
        return []
    joined = [
        ": ".join(map(str, one.values())) if isinstance(one, dict) else str(one) for one in value
    ]
    return [text.strip() for text in joined if text.strip()]


def score(text: str, *, low: float, high: float) -> float | None:
    """The score that a text gives: the object's `score`, else the first number; clamped to a range.

    None where it gives none.
    """
    found = first_object(text).get("score")
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        found = text
    number = NUMBER.search(str(found))
    return None if number is None else min(max(float(number.group()), low), high)

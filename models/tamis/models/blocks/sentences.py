"""Finds the sentences of a text. Knows marks of punctuation, not languages."""

import re

# A mark that ends a sentence takes closing quotes and brackets with it. The marks of East Asian
# scripts need no space after them; the others do, or "3.14" and "tamis.models" would be cut.
END = re.compile(
    r"""[.!?…]+["'”’»)\]]*(?=\s)|[。！？｡]+["'”’」』）]*|\n+"""  # noqa: RUF001 - they are meant
)
# What a full stop after it does not end, besides single letters and what is made of them ("U.S.").
ABBREVIATIONS = frozenset(
    "adj adv al approx assn ave bldg blvd ca capt cf co col corp dept dr ed eds eg eq esp est fig "  # noqa: SIM905
    "figs gen gov hon inc ie jr lt ltd messrs mr mrs ms mt nr ph.d pp prof ref refs rep rev sen "
    "sgt sr st ste univ viz vol vols vs".split()
)
LETTERS = re.compile(r"[^\W\d_](\.[^\W\d_])*")
GAP = re.compile(r"[^\w.]+")
NEAR = 40  # characters that are looked at before and after a full stop


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends, in characters, in order.

    Together they hold every character that is not white space, once. A line break always ends a
    sentence. A full stop does not where it follows an abbreviation or a single letter, or where
    what comes next is in lower case.
    """
    found, start = [], 0
    for mark in END.finditer(text):
        if _ends(text, start, mark):
            found.append((start, mark.end()))
            start = mark.end()
    found.append((start, len(text)))
    return [span for span in (_stripped(text, *span) for span in found) if span[0] < span[1]]


def _ends(text: str, start: int, mark: re.Match[str]) -> bool:
    if mark.group()[0] != ".":
        return True
    if text[mark.end() : mark.end() + NEAR].lstrip()[:1].islower():
        return False
    before = text[max(start, mark.start() - NEAR) : mark.start()]
    word = GAP.split(before)[-1].lower()
    return mark.group() != "." or not (word in ABBREVIATIONS or LETTERS.fullmatch(word))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return end - len(part.lstrip()), start + len(part.rstrip())

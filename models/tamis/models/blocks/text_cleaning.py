"""What training did to texts before it cut them into tokens."""

import html
import string
import unicodedata
from collections.abc import Callable

_CURLY = str.maketrans(
    dict.fromkeys("\u02bc\u2018\u2019\u201a\u201b", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)
_LIGATURES = str.maketrans(
    {
        code: unicodedata.normalize("NFKC", chr(code))
        for code in (
            *range(0x132, 0x134),
            0x149,
            *range(0x1C4, 0x1CD),
            *range(0x1F1, 0x1F4),
            *range(0xFB00, 0xFB07),
        )
    }
    | {0xFB05: "\u017ft"}  # ftfy keeps the long s
)
_WIDE = str.maketrans(
    {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFFF0)}
    | {0x3000: " "}
)
_CONTROLS = dict.fromkeys(
    (
        *range(0x09),
        0x0B,
        *range(0x0E, 0x20),
        0x7F,
        *range(0x206A, 0x2070),
        0xFEFF,
        *range(0xFFF9, 0xFFFD),
    )
)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def openai(text: str) -> str:
    """As CLIP was trained: marks made plain, HTML entities read, white space joined, lower case.

    The first step is what the ftfy package does to well-formed text; it would also repair text
    that was decoded by the wrong table, which is left as it is here.
    """
    for table in (_LIGATURES, _WIDE, _CURLY, _CONTROLS):
        text = text.translate(table)
    text = html.unescape(html.unescape(unicodedata.normalize("NFC", text)))
    return joined(text).lower()


def siglip(text: str) -> str:
    """As SigLIP was trained: lower case, no ASCII punctuation, white space joined."""
    return joined(text.lower().translate(_PUNCTUATION))


def joined(text: str) -> str:
    """The words with one space between them."""
    return " ".join(text.split())


def sentence(text: str) -> str:
    """As UniIR was trained: no outer quotes, a capital at the start, and a full stop at the end.

    A text that ends in ``.``, ``?`` or ``!`` keeps that, and an empty one stays empty.
    """
    text = text.replace("\r", "").strip().strip('"')
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."


# By the names that a `model.toml` gives them.
CLEANINGS: dict[str, Callable[[str], str]] = {
    "none": str,
    "lower": str.lower,
    "openai": openai,
    "siglip": siglip,
}

"""What every method of every family is."""

from abc import ABC
from typing import ClassVar

from tamis.models.types import Paper


class Method(ABC):
    """A published method, as a frozen dataclass whose fields are its settings.

    Attributes:
        paper: Where it was published; None for a baseline that nobody claims.
        checked: By what its arithmetic is checked, for METHODS.md.
        departs: How it differs from the paper, for METHODS.md; empty when it does not.
    """

    paper: ClassVar[Paper | None] = None
    checked: ClassVar[str]
    departs: ClassVar[str] = ""

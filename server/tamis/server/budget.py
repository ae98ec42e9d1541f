"""Splits the time that a search has left among its stages, by what each of them took lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tamis.server.errors import DeadlineError
from tamis.server.pace import Pace
from tamis.server.search import Search


class Sized(Protocol):
    """A stage that can be made shorter."""

    @property
    def pace(self) -> Pace:
        """How long it takes, by the documents that it looks at."""
        ...

    def size(self, search: Search) -> int:
        """How many documents it would look at; 0 where it has nothing to do."""
        ...

    def shortened(self, search: Search, size: int) -> Search | None:
        """The search with no more than `size` documents to look at; None where that is useless."""
        ...


@dataclass(frozen=True, slots=True)
class Share:
    """What a stage is given.

    Attributes:
        search: The search, shortened where its time is short.
        seconds: How long the stage may take.
        size: How many documents it looks at.
        shortened: Whether that is fewer than was asked for.
    """

    search: Search
    seconds: float
    size: int
    shortened: bool = False


def share(stage: Sized, later: Sequence[Sized], search: Search, left_s: float) -> Share:
    """A stage's part of the time that is left.

    Where the time suffices for all, the stage may take all but what the later ones need. Where it
    does not, each has its part in proportion to its need, and this one is cut down to what fits.

    Raises:
        DeadlineError: So little fits that the stage is better left out.
    """
    size = stage.size(search)
    need = stage.pace.seconds(size)
    reserve = sum(other.pace.seconds(other.size(search)) for other in later)
    if need + reserve <= left_s:
        return Share(search, left_s - reserve, size)
    own_s = left_s * need / (need + reserve)
    fits = stage.pace.size(own_s)
    if fits >= size:
        return Share(search, own_s, size)
    shorter = stage.shortened(search, int(fits))
    if shorter is None:
        stage.pace.doubt()
        raise DeadlineError(
            f"it takes about {1000 * need:.0f} ms for {size} documents, and has {1000 * own_s:.0f}"
        )
    reduced = stage.size(shorter)
    return Share(shorter, own_s, reduced, shortened=reduced < size)

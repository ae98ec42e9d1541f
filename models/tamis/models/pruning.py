"""Where visual tokens go on their way from a picture to an answer, as data.

picture -> vision tower -> projector -> language model -> cache -> answer
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from tamis.models.refiners import LayerRefiner, VisualRefiner


class Place(StrEnum):
    """Where a visual refiner acts."""

    TOWER = "tower"  # after one of the vision tower's layers, which goes on with what is left
    ENCODED = "encoded"  # on what the tower makes
    PROJECTED = "projected"  # on what the projector makes of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What lets visual tokens go, and where.

    Attributes:
        visual: Before the language model; None for nothing.
        place: Where that acts.
        after: The tower's layer that it follows, from 0, where it acts there.
        packed: Whether the language model numbers what is left without gaps; else each token
            stands where it would without pruning. Inside the language model tokens always keep
            the positions that they were given.
        inside: Between the layers of the language model; None for nothing.
    """

    visual: VisualRefiner | None = None
    place: Place = Place.PROJECTED
    after: int = 0
    packed: bool = False
    inside: LayerRefiner | None = None


NOTHING = Pruning()
# Where the papers' code acts. What is here hands the language model fewer tokens, which it numbers
# anew; all else acts on the projector's output, and each token stands where it would without.
PUBLISHED = {
    "mustdrop": Pruning(place=Place.TOWER, after=0, packed=True),
    "visionzip": Pruning(place=Place.ENCODED, packed=True),
    "prumerge": Pruning(place=Place.ENCODED, packed=True),
    "tome": Pruning(place=Place.ENCODED, packed=True),
    "divprune": Pruning(place=Place.PROJECTED, packed=True),
    "llavolta": Pruning(place=Place.PROJECTED, packed=True),
}


def published(visual: VisualRefiner, inside: LayerRefiner | None = None) -> Pruning:
    """A visual refiner where its paper has it, and with the positions that it gives there."""
    own = PUBLISHED.get(type(visual).__module__.rpartition(".")[2], NOTHING)
    return replace(own, visual=visual, inside=inside)

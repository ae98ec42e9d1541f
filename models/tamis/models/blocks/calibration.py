"""Where to draw the line between scores of what is relevant and of what is not."""

from collections.abc import Sequence

import numpy as np


def crossing(relevant: Sequence[float], other: Sequence[float]) -> float:
    """The threshold at which as large a share of the relevant is lost as of the others is let in.

    It is where the two distributions cross: below it others prevail, above it the relevant do.

    Args:
        relevant: Scores of what should be kept.
        other: Scores of what should not.
    """
    if not len(relevant) or not len(other):
        raise ValueError("needs scores of both kinds")
    kept, dropped = np.sort(relevant), np.sort(other)
    places = np.unique(np.concatenate([kept, dropped]))
    lost = np.searchsorted(kept, places, side="left") / len(kept)
    let_in = 1 - np.searchsorted(dropped, places, side="left") / len(dropped)
    return float(places[np.argmin(np.abs(lost - let_in))])

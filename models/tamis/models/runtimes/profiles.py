"""What the free axes of graphs come to: an engine is built for that, and reads no more."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any

import numpy as np

from tamis.models.blocks.batches import MOST, PAIRS, ROOM

Limits = tuple[int, int, int]  # the least, the usual and the most of a free axis
BATCH: Limits = (1, 8, MOST)
AXES: Mapping[str, Limits] = {  # by what exporters call them
    **dict.fromkeys(("batch", "images", "pictures", "texts", "videos"), BATCH),
    **dict.fromkeys(("length", "source", "vectors", "words"), (1, 64, 512)),
    "before": (0, 64, 512),
    "captions": (1, 30, 64),
    "frames": (1, 12, 64),
    "kept": (1, 1, 512),
    "pairs": (1, 8, PAIRS),
    "patches": (4, 1024, 4096),
    "regions": (0, 1, 16),
    "states": (0, 257, 1024),
    "visual_tokens": (1, 1024, ROOM),
}
# The settings of a recipe that say what an axis comes to at most; of several, the largest.
SAID: Mapping[str, tuple[str, ...]] = {
    "length": ("max_tokens", "query_tokens", "document_tokens", "text.max_tokens"),
    **dict.fromkeys(("before", "kept", "source"), ("max_tokens",)),
    **dict.fromkeys(("vectors", "words"), ("most",)),
    "captions": ("captions",),
    "frames": ("frames.most", "most"),
    "patches": ("patching.max_patches",),
    "states": ("grid",),
}
# Of tokens, whose attention takes memory by their square: what a run reads, whatever a model could.
BOUNDED = frozenset({"before", "kept", "length", "source"})


def limits(recipe: Any) -> Mapping[str, Limits]:
    """What the free axes of a folder's graphs come to, as far as its recipe says."""
    return {axis: _within(axis, recipe, SAID.get(axis, ())) for axis in AXES}


def _within(axis: str, recipe: Any, settings: Sequence[str]) -> Limits:
    said = []
    for setting in settings:
        with suppress(AttributeError):  # recipes have what their models need
            said.append(int(np.prod(attrgetter(setting)(recipe))))  # of a grid, its places
    low, middle, high = AXES[axis]
    high = max(said, default=high)
    if axis in BOUNDED:
        high = min(high, ROOM)
    return min(low, high), min(middle, high), high

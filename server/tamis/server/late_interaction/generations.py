"""The centroids of a collection's fields, as files that any number of processes may read."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from tamis.models.blocks.centroids import Centroids

logger = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Centroids as they were trained once.

    Attributes:
        number: Counts them, from 1.
        slot: Which of the two sparse fields has their lists: 0 or 1.
        file: Their vectors, in the same folder.
        starts: Where each group of them begins, and where the last one ends.
        documents: How many the collection had.
        similarity: Of tokens that they were not trained on with their centroids, on average.
    """

    number: int
    slot: int
    file: str
    starts: tuple[int, ...]
    documents: int
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What there is of one field.

    Attributes:
        serving: The generation that searches use; None for none yet.
        filling: The next one, whose lists are not complete.
        copy: The folder of the copy in bytes that is in service; empty for none.
    """

    serving: Generation | None = None
    filling: Generation | None = None
    copy: str = ""

    @property
    def generations(self) -> list[Generation]:
        """Those whose lists a new document must be on."""
        return [one for one in (self.serving, self.filling) if one]


def read(folder: Path, vector: str) -> State:
    """What a folder says of a field; nothing where it says nothing that can be read."""
    path = _manifest(folder, vector)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise ValueError(f"format {said['format']}, not {FORMAT}")  # noqa: TRY301
        return State(
            serving=_generation(said["serving"]),
            filling=_generation(said["filling"]),
            copy=str(said["copy"]),
        )
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s: not used, and made again: %s", path, error)
        return State()


def write(folder: Path, vector: str, state: State) -> None:
    """Says what there is of a field: the old word or the new one, never half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _manifest(folder, vector)
    new = path.with_suffix(f".{uuid4().hex}")
    new.write_text(json.dumps({"format": FORMAT, **asdict(state)}), encoding="utf-8")
    new.replace(path)


def keep(folder: Path, vector: str, generation: Generation, centroids: Centroids) -> Generation:
    """Writes a generation's centroids into its file, before anything names them."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{vector}.{generation.number}.{uuid4().hex[:8]}.npy"
    with (folder / name).open("wb") as file:
        np.save(file, centroids.vectors, allow_pickle=False)
    starts = tuple(int(start) for start in centroids.starts)
    return replace(generation, file=name, starts=starts)


def load(folder: Path, generation: Generation) -> Centroids:
    """A generation's centroids.

    Raises:
        OSError: Their file is not there.
        ValueError: It is not what was written.
    """
    vectors = np.load(folder / generation.file, allow_pickle=False)
    starts = np.array(generation.starts)
    if vectors.ndim != 2 or len(vectors) != starts[-1] or not np.isfinite(vectors).all():
        raise ValueError(f"{generation.file}: damaged")
    return Centroids(vectors.astype(np.float32, copy=False), starts)


def _manifest(folder: Path, vector: str) -> Path:
    return folder / f"{vector}.json"


def _generation(said: dict[str, Any] | None) -> Generation | None:
    if said is None:
        return None
    return Generation(**{**said, "starts": tuple(said["starts"])})

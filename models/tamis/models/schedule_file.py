"""Schedules that a search found: how many visual tokens each layer keeps, and what that cost.

A file is one JSON object, the fields of `Schedule`. The refiners ``g_search`` and ``p_sigmoid``
read what the jobs of their names in `tamis.models.train` wrote.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tamis.models.blocks.schedules import check
from tamis.models.errors import SettingsError
from tamis.models.settings import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What was found, on what.

    Attributes:
        method: The refiner that it is for.
        rates: For each layer, the share of the image's tokens that it keeps; none rises.
        model: The name of the folder of the model that was calibrated.
        questions: How many it was calibrated on.
        accuracy: The share of them that it answered rightly with these rates.
        full_accuracy: The same with all tokens.
        settings: Of the search.
    """

    method: str
    rates: tuple[float, ...]
    model: str
    questions: int
    accuracy: float
    full_accuracy: float
    settings: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.rates)


def read(path: str | Path, method: str) -> Schedule:
    """The schedule of a file, which must be for `method`.

    Raises:
        SettingsError: There is no such file, or it is not such a schedule. The message names the
            file and the key.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"schedule {path}: cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise SettingsError(f"schedule {path}: expected an object, got {type(table).__name__}")
    schedule = build(Schedule, table, where=f"schedule {path}")
    if schedule.method != method:
        raise SettingsError(f"schedule {path}: is for {schedule.method!r}, not for {method!r}")
    return schedule


def write(schedule: Schedule, path: Path) -> None:
    """Writes what `read` reads."""
    path.write_text(json.dumps(asdict(schedule), indent=1) + "\n", encoding="utf-8")

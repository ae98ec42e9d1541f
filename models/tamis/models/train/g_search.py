"""G-Search's job: the smallest share of visual tokens for each layer, at hardly any loss.

    python -m tamis.models.train.g_search MODEL_FOLDER --out schedule.json

goes through the layers from shallow to deep, tries schedules on easy-VQA's training questions, and
writes a file for the setting `schedule` of the refiner ``g_search``.
"""

from collections.abc import Sequence

from tamis.models.blocks.schedules import greedy
from tamis.models.refiners.g_search import GSearch
from tamis.models.train.schedule_search import Calibration, calibration, finish, parser, told

GRID = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
TOLERANCE = 0.01


def search(
    tried: Calibration, grid: Sequence[float] = GRID, tolerance: float = TOLERANCE
) -> GSearch:
    """The schedule found; see `blocks.schedules.greedy`."""
    rates = greedy(
        lambda rates: tried.accuracy(GSearch(rates=rates)),
        tried.vlm.layers,
        grid,
        tolerance=tolerance,
    )
    return GSearch(rates=rates)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    own = parser("g_search", "Searches for the schedule of the refiner g_search.")
    own.add_argument("--tolerance", type=float, default=TOLERANCE, help="the loss that is allowed")
    own.add_argument("--grid", type=float, nargs="+", default=GRID, help="shares to choose from")
    said = own.parse_args(arguments)
    with told():
        tried = calibration(said)
        found = search(tried, said.grid, said.tolerance)
        finish(said, tried, found, found.shares, {"tolerance": said.tolerance})


if __name__ == "__main__":
    main()

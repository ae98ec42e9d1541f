"""P-Sigmoid's job: the curve that answers best with a budget of visual tokens.

    python -m tamis.models.train.p_sigmoid MODEL_FOLDER --out schedule.json --budget 0.25

tries curves on easy-VQA's training questions, as Bayesian optimisation asks for them, and writes a
file for the setting `schedule` of the refiner ``p_sigmoid``.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.bayes import maximise
from tamis.models.refiners.p_sigmoid import PSigmoid
from tamis.models.train.schedule_search import Calibration, calibration, finish, parser, told

LEAST = 1 / 64  # the smallest share that is tried
STEEPNESS = (4.0, 60.0)  # a flatter curve does not meet every budget
SLACK = 1e-3  # by which a curve may miss its budget
ROUNDS = 24


def search(tried: Calibration, budget: float, rounds: int = ROUNDS, seed: int = 0) -> PSigmoid:
    """The best curve of those tried, none of which keeps more than the budget."""

    def curve(point: Float[np.ndarray, " 3"]) -> PSigmoid:
        top, bottom, steepness = map(float, point)
        return PSigmoid(
            depth=tried.vlm.layers,
            budget=budget,
            top=max(top, budget),  # sums of bounds are not exact
            bottom=min(bottom, budget),
            steepness=steepness,
        )

    def worth(point: Float[np.ndarray, " 3"]) -> float:
        made = curve(point)
        return tried.accuracy(made) if np.mean(made.rates) <= budget + SLACK else 0.0

    bounds = ((budget, 1.0), (min(LEAST, budget), budget), STEEPNESS)
    point, _ = maximise(worth, bounds, rounds=rounds, seed=seed)
    return curve(point)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    own = parser("p_sigmoid", "Searches for the schedule of the refiner p_sigmoid.")
    own.add_argument("--budget", type=float, default=0.25, help="the mean share over the layers")
    own.add_argument("--rounds", type=int, default=ROUNDS, help="curves that are tried")
    said = own.parse_args(arguments)
    with told():
        tried = calibration(said)
        found = search(tried, said.budget, said.rounds, said.seed)
        settings = {name: getattr(found, name) for name in ("budget", "top", "bottom", "steepness")}
        finish(said, tried, found, found.rates, settings)


if __name__ == "__main__":
    main()

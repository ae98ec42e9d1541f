"""What the searches for a schedule share: a model, questions to calibrate on, a file to write."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tamis.models.errors import TamisError
from tamis.models.pruning import Pruning
from tamis.models.refiners import LayerRefiner
from tamis.models.refiners.g_search import GSearch
from tamis.models.refiners.p_sigmoid import PSigmoid
from tamis.models.runtimes.hf.pruned_vlm import PrunedVlm
from tamis.models.schedule_file import Schedule, write
from tamis.models.train.easy_vqa import EasyVqa, Question, Words, read
from tamis.models.train.mini_vlm_model import load
from tamis.models.train.pruned_answers import answered, drawn
from tamis.models.train.stamps import CACHE


@dataclass(frozen=True)
class Calibration:
    """A model and training questions to try schedules on; test questions are never looked at."""

    vlm: PrunedVlm
    words: Words
    data: EasyVqa
    questions: list[Question]

    def accuracy(self, refiner: LayerRefiner | None = None) -> float:
        """The share that is answered rightly; of all tokens where there is no refiner."""
        vlm = self.vlm.pruned_by(Pruning(inside=refiner))
        return answered(vlm, self.words, self.data, self.questions).accuracy


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The arguments that both jobs have."""
    made = argparse.ArgumentParser(
        prog=f"python -m tamis.models.train.{name}", description=description
    )
    made.add_argument("model", type=Path, help="a folder that mini_vlm wrote")
    made.add_argument("--out", type=Path, required=True, help="the schedule file to write")
    made.add_argument("--questions", type=int, default=300, help="training questions to try on")
    made.add_argument("--seed", type=int, default=0, help="of what is drawn")
    made.add_argument("--cache", type=Path, default=CACHE, help="for what is fetched")
    return made


def calibration(said: argparse.Namespace) -> Calibration:
    """What the arguments ask for."""
    model, words = load(said.model)
    data = read(said.cache)["train"]
    return Calibration(PrunedVlm(model), words, data, drawn(data, said.questions, said.seed))


@contextmanager
def told() -> Iterator[None]:
    """Ends a job with one line where something is wrong with what it was given."""
    try:
        yield
    except (TamisError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def finish(
    said: argparse.Namespace,
    tried: Calibration,
    found: GSearch | PSigmoid,
    rates: tuple[float, ...],
    settings: dict[str, float],
) -> None:
    """Writes the schedule that was found, and says what it does."""
    schedule = Schedule(
        method=type(found).__module__.rpartition(".")[2],
        rates=rates,
        model=said.model.resolve().name,
        questions=len(tried.questions),
        accuracy=tried.accuracy(found),
        full_accuracy=tried.accuracy(),
        settings=settings | {"seed": said.seed},
    )
    write(schedule, said.out)
    shares = " ".join(f"{rate:.3f}" for rate in rates)
    print(
        f"{said.out}: {shares}; accuracy {schedule.accuracy:.4f}, "
        f"with all tokens {schedule.full_accuracy:.4f}"
    )

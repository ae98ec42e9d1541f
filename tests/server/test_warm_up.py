"""A model's shapes before it is in service."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from tamis.models.encoders import Encoder
from tamis.models.errors import InputError, ModelError
from tamis.models.types import Content, Encoding, Head, Modality, Side
from tamis.server.config import BatchSettings
from tamis.server.warm_up import LONGEST, warm_up

SETTINGS = BatchSettings(max_size=8, max_cost=100)


@dataclass(frozen=True, kw_only=True)
class Recording(Encoder):
    """Keeps what it is given: how many, how much each, and of what."""

    checked: ClassVar = "by definition"
    modalities: ClassVar = frozenset(Modality)

    reads: int = 20
    takes_s: float = 0.0
    broken: bool = False
    refuses: Modality | None = None
    seen: list[tuple[int, int, frozenset[Modality]]] = field(default_factory=list)

    @property
    def heads(self) -> Mapping[str, Head]:
        return {}

    @property
    def fingerprint(self) -> str:
        return "recording"

    def cost(self, content: Content) -> int:
        return min(len(content.text or "x"), self.reads)

    def truncates(self, content: Content) -> bool:
        return len(content.text or "") > self.reads

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        if self.broken:
            raise RuntimeError("out of memory")
        if self.refuses in contents[0].modalities:
            raise InputError(f"{side}: no {self.refuses}")
        time.sleep(self.takes_s)
        self.seen.append((len(contents), self.cost(contents[0]), contents[0].modalities))
        return [Encoding({})] * len(contents)


def test_the_least_and_the_most_of_each_modality_run_small_ones_first() -> None:
    encoder = Recording()
    ran = warm_up("r", encoder, SETTINGS, budget_s=10)
    text, image, video = (frozenset({modality}) for modality in Modality)
    assert ran == 10
    costs = [count * cost for count, cost, _ in encoder.seen]
    assert costs == sorted(costs)
    assert set(encoder.seen) == {
        (1, 7, text),
        (8, 7, text),
        (1, 20, text),
        (5, 20, text),  # 8 of them would cost more than a batch may
        (1, 1, image),
        (8, 1, image),
        (1, 7, text | image),
        (8, 7, text | image),
        (1, 1, video),
        (8, 1, video),
    }


def test_time_is_bounded() -> None:
    encoder = Recording(takes_s=0.03)
    assert 1 <= warm_up("r", encoder, SETTINGS, budget_s=0.1) < 10


def test_without_a_budget_nothing_runs() -> None:
    encoder = Recording()
    assert warm_up("r", encoder, SETTINGS, budget_s=0) == 0
    assert encoder.seen == []


def test_an_encoder_that_reads_everything_is_given_a_bounded_text() -> None:
    encoder = Recording(reads=1 << 30)
    warm_up("r", encoder, BatchSettings(), budget_s=10)
    assert max(cost for _, cost, _ in encoder.seen) == LONGEST


def test_one_that_refuses_some_contents_is_warmed_by_the_others() -> None:
    encoder = Recording(refuses=Modality.TEXT)
    warm_up("r", encoder, SETTINGS, budget_s=10)
    assert {modalities for *_, modalities in encoder.seen} == {
        frozenset({Modality.IMAGE}),
        frozenset({Modality.VIDEO}),
    }


def test_one_that_does_not_run_is_found_out() -> None:
    with pytest.raises(ModelError, match="r: failed while it warmed up: out of memory"):
        warm_up("r", Recording(broken=True), SETTINGS, budget_s=10)

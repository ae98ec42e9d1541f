"""Documents that are longer or shorter than their collection was told."""

import logging

import pytest

from tamis.models.types import TermWeighting
from tamis.server.lengths import WATCHED, Lengths


@pytest.mark.parametrize(("terms", "told"), [(19.0, 0), (41.0, 1), (9.0, 1)])
def test_a_drift_is_told_once(caplog: pytest.LogCaptureFixture, terms: float, told: int) -> None:
    lengths, how = Lengths(), TermWeighting(average_length=20.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(2 * WATCHED):
            lengths.saw("docs", "bm25.terms", terms, how)
    assert len(caplog.records) == told
    if told:
        assert f"average_length = {terms:.0f}" in caplog.records[0].getMessage()


def test_a_few_documents_tell_nothing(caplog: pytest.LogCaptureFixture) -> None:
    lengths, how = Lengths(), TermWeighting(average_length=20.0)
    for _ in range(WATCHED - 1):
        lengths.saw("docs", "bm25.terms", 500.0, how)
    assert not caplog.records

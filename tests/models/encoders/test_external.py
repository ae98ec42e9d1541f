"""What an encoder that encodes nothing declares; what becomes of it is tested through a server."""

import pytest

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.encoders.external import External
from tamis.models.errors import SettingsError
from tamis.models.types import Content, Head, Kind, Side, TermWeighting


def test_heads_are_what_the_settings_say() -> None:
    dense = External(space="mine", kind="dense", dim=4, dot=True)
    assert dense.heads == {"given": Head(Kind.DENSE, 4, "external:mine", dot=True)}
    counts = External(space="deepct", weighting=TermWeighting(k1=10.0))
    (head,) = counts.heads.values()
    assert (head.kind, head.idf, head.weighting) == (Kind.SPARSE, True, TermWeighting(k1=10.0))
    assert [made.heads for made in counts.encode([Content(text="a")], Side.DOCUMENT)] == [{}]


def test_another_space_is_another_fingerprint() -> None:
    made = [External(space="a"), External(space="b"), External(space="a", idf=True)]
    assert len({encoder.fingerprint for encoder in made}) == 3
    assert External(space="a").fingerprint == External(space="a").fingerprint


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "graph"}, "kind must be one of dense, sparse, multi, not 'graph'"),
        ({"kind": "dense"}, "dim must be above 0, not 0"),
        ({"dim": 4}, "dim must be 0, not 4"),
        ({"kind": "multi", "dim": 4, "idf": True}, "are for sparse representations, not multi"),
        ({"weighting": {"b": 2.0}}, r"external\.weighting: b must be from 0 to 1, not 2\.0"),
    ],
)
def test_a_bad_setting_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(Encoder, "external", {"space": "a"} | table)

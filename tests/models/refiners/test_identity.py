"""The baseline that prunes nothing."""

from tamis.models.refiners.identity import Identity
from tamis.models.types import VisualTokens


def test_every_token_is_kept_whatever_the_budget(tokens: VisualTokens) -> None:
    assert Identity(budget=1).refine(tokens) is tokens

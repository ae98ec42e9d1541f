"""Exports PreFLMR, whose graphs are FLMR's with patches mapped among the words."""

from tamis.models.export import flmr
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.runtimes.multimodal_rows import FLMRRecipe


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is an FLMR with a mapping network."""
    config = checkpoint.config
    return config.get("model_type") == "flmr" and bool(
        config.get("use_transformer_mapping_network")
    )


def export(checkpoint: Checkpoint, draft: Draft) -> FLMRRecipe:
    """Writes the graphs and the tokenizer.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    return flmr.export(checkpoint, draft, "preflmr")

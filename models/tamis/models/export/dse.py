"""Makes a served folder of a DSE checkpoint over Qwen2-VL, whole or an adapter."""

from tamis.models.export import last_token, qwen2_vl
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.runtimes.prompted import PromptedRecipe

TURN = "<|im_end|>\n<|im_start|>"
PAGE, QUERY = "What is shown in this image?", "Query: {text}"
MAX_TOKENS = 2048
LEAST, MOST = 1, 2560  # visual tokens of a picture, whatever the checkpoint's file says
SIDE = 748  # of a screenshot, in pixels


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is a DSE."""
    return last_token.named(checkpoint, "dse")


def export(checkpoint: Checkpoint, draft: Draft) -> PromptedRecipe:
    """Writes the graphs.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    vision = qwen2_vl.vision_of(checkpoint)
    return last_token.export(
        checkpoint,
        draft,
        "dse",
        patching=qwen2_vl.patching_of(
            checkpoint, vision, least=LEAST, most=MOST, stored=False, side=SIDE
        ),
        templates=templates(),
        instructions={},
        max_tokens=MAX_TOKENS,
        blank=vision.patch * vision.merge,
    )


def templates() -> dict[str, str]:
    """A chat about a picture, a query's being blank; texts of documents are read as queries are."""
    of_kind = {"text": QUERY, "image": PAGE, "both": PAGE}
    return {
        f"{side}_{kind}": "<|im_start|>system\nYou are a helpful assistant."
        f"{TURN}user\n{qwen2_vl.FRAMED}{said}{TURN}assistant\n<|endoftext|>"
        for side in ("query", "document")
        for kind, said in of_kind.items()
    }

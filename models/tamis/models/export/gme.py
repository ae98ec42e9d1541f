"""Makes a served folder of a GME checkpoint."""

from tamis.models.export import last_token, qwen2_vl
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.runtimes.prompted import PromptedRecipe

DEFAULT = "You are a helpful assistant."
TURN = "<|im_end|>\n<|im_start|>"
PARTS = {"text": "{text}", "image": qwen2_vl.FRAMED, "both": f"{qwen2_vl.FRAMED}{{text}}"}
MAX_TOKENS = 1800
LEAST, MOST = 256, 1280  # visual tokens of a picture, whatever the checkpoint's file says


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is a GME."""
    return last_token.named(checkpoint, "gme")


def export(checkpoint: Checkpoint, draft: Draft) -> PromptedRecipe:
    """Writes the graphs.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    patching = qwen2_vl.patching_of(
        checkpoint, qwen2_vl.vision_of(checkpoint), least=LEAST, most=MOST, stored=False
    )
    return last_token.export(
        checkpoint,
        draft,
        "gme",
        patching=patching,
        templates=templates(),
        instructions={f"query_{kind}": DEFAULT for kind in PARTS},
        max_tokens=MAX_TOKENS,
    )


def templates() -> dict[str, str]:
    """A chat with the instruction as its system's message; documents have the plain one."""
    systems = {"query": "{instruction}", "document": DEFAULT}
    return {
        f"{side}_{kind}": f"<|im_start|>system\n{system}{TURN}user\n{part}{TURN}assistant\n"
        "<|endoftext|>"
        for side, system in systems.items()
        for kind, part in PARTS.items()
    }

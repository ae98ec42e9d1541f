"""Makes a served folder of a VLM2Vec checkpoint over Qwen2-VL, whole or an adapter."""

from tamis.models.export import last_token, qwen2_vl
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.runtimes.prompted import PromptedRecipe

PARTS = {
    "text": "{instruction} {text}",
    "image": f"{qwen2_vl.IMAGE_TOKEN} {{instruction}}",
    "both": f"{qwen2_vl.IMAGE_TOKEN} {{instruction}} {{text}}",
}
SEEN = "Represent the given image."
ASKED = "Represent the given image with the following question:"
MAX_TOKENS = 4096


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is a VLM2Vec."""
    return last_token.named(checkpoint, "vlm2vec")


def export(checkpoint: Checkpoint, draft: Draft) -> PromptedRecipe:
    """Writes the graphs.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    return last_token.export(
        checkpoint,
        draft,
        "vlm2vec",
        patching=qwen2_vl.patching_of(checkpoint, qwen2_vl.vision_of(checkpoint)),
        templates={
            f"{side}_{kind}": PARTS[kind] for side in ("query", "document") for kind in PARTS
        },
        instructions={"query_image": SEEN, "document_image": SEEN, "query_both": ASKED},
        max_tokens=MAX_TOKENS,
    )

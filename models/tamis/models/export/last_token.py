"""What the exporters of Qwen2-VL embedders share: the network, and how a recipe becomes files."""

from collections.abc import Mapping
from typing import Any

from tamis.models.export import qwen2_vl
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Draft
from tamis.models.export.prompted import built, write
from tamis.models.networks.decoder import Decoder
from tamis.models.networks.prompted import LastToken
from tamis.models.networks.qwen2_vl import Vision, shapes
from tamis.models.runtimes.patches import Patching
from tamis.models.runtimes.prompted import PromptedRecipe


def export(
    checkpoint: Checkpoint,
    draft: Draft,
    method: str,
    *,
    patching: Patching,
    templates: dict[str, str],
    instructions: dict[str, str],
    max_tokens: int,
    blank: int = 0,
) -> PromptedRecipe:
    """Writes the graphs of a Qwen2-VL whose last token is the embedding.

    Args:
        checkpoint: A Qwen2-VL, whole or an adapter.
        draft: Where they go.
        method: What serves it.
        patching: How its pictures are cut.
        templates: Its prompts.
        instructions: What is wanted where a content does not say.
        max_tokens: Of one prompt.
        blank: The side of the picture that a text is read with, in pixels; 0 for none.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    model = built(checkpoint, network, qwen2_vl.renamed)
    width = model.language_model.shape.width
    recipe = PromptedRecipe(
        name=draft.name(checkpoint),
        method=method,
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=width,
        width=width,
        max_tokens=max_tokens,
        image_token=qwen2_vl.IMAGE_TOKEN,
        templates=templates,
        instructions=instructions,
        blank=blank,
        patching=patching,
    )
    cases = qwen2_vl.image_cases(patching, qwen2_vl.vision_of(checkpoint))
    write(draft, checkpoint, model, recipe, cases, qwen2_vl.IMAGE_DYNAMIC)
    return recipe


def network(config: Mapping[str, Any]) -> LastToken:
    """The network of a configuration."""
    vision, language = shapes(config)
    return LastToken(Vision(vision), Decoder(language))


def named(checkpoint: Checkpoint, part: str) -> bool:
    """Whether a Qwen2-VL is called so: nothing else in its files tells these models apart."""
    kind = checkpoint.config.get("model_type")
    return kind == "qwen2_vl" and part in checkpoint.name.lower()

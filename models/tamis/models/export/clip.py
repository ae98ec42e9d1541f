"""Exports CLIP: a checkpoint of OpenAI, open_clip or transformers.

Settings: `visual` (false leaves out the patches' states and attention), and where no configuration
says them, `vision_heads`, `text_heads` and `activation`.
"""

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.clip_tokenizer import tokenizer_json
from tamis.models.export.clip_weights import hints, towers
from tamis.models.export.draft import Draft
from tamis.models.export.preprocessing import transform
from tamis.models.export.towers import SEEN, chosen, write_pictures, write_texts
from tamis.models.networks.clip import ClipTowers
from tamis.models.networks.clip_graphs import ImageGraph, SeenGraph, TextGraph
from tamis.models.runtimes.towers import TextRule, TowersRecipe
from tamis.models.runtimes.transform import ImageTransform


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is transformers' CLIP, or open_clip's with a vision transformer of its own."""
    vision = checkpoint.table("open_clip_config.json").get("model_cfg", {}).get("vision_cfg", {})
    return checkpoint.config.get("model_type") == "clip" or "patch_size" in vision


def export(checkpoint: Checkpoint, draft: Draft, method: str = "clip") -> TowersRecipe:
    """Writes the graphs `text` and `image`, and the tokenizer.

    Raises:
        ModelError: A tensor does not fit, or there is no tokenizer.
    """
    said = hints(checkpoint, draft.options.settings)
    network = towers(checkpoint.tensors(), said)
    shape = network.visual.shape
    pictures = transform(checkpoint, shape.grid[0] * shape.patch)
    return write(checkpoint, draft, network, pictures, method=method)


def write(
    checkpoint: Checkpoint,
    draft: Draft,
    network: ClipTowers,
    pictures: ImageTransform,
    *,
    method: str,
    sentence: bool = False,
    visual: bool = True,
) -> TowersRecipe:
    """Writes two towers as a dual encoder's folder.

    Args:
        checkpoint: Whose they are.
        draft: Where they go.
        network: The towers.
        pictures: How pictures are read.
        method: What serves them.
        sentence: Whether texts are made sentences, and a query's instruction stands before it.
        visual: Whether the image graph gives the patches' states and attention, if not set.

    Raises:
        ModelError: A graph differs from its network, or there is no tokenizer.
    """
    projections = {
        "visual.proj": network.visual.shape.dim,
        "text_projection": network.text.shape.dim,
    }
    for key, dim in projections.items():
        if not dim:
            raise ModelError(f"{key}: missing")
    rule = text_rule(checkpoint, draft, network.text.shape.context, sentence=sentence)
    write_texts(draft, TextGraph(network.text), rule)
    seen = chosen(draft.options.settings, "visual", visual)
    graph = SeenGraph(network.visual) if seen else ImageGraph(network.visual)
    write_pictures(draft, graph, pictures, SEEN if seen else SEEN[:1])
    return TowersRecipe(
        name=draft.name(checkpoint),
        method=method,
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=network.text.shape.dim,
        text=rule,
        image=pictures,
        grid=network.visual.shape.grid,
        visual=seen,
    )


def text_rule(
    checkpoint: Checkpoint, draft: Draft, context: int, *, sentence: bool, whole: bool = False
) -> TextRule:
    """CLIP's reading of texts; writes the tokenizer. `whole` pads each to the full context.

    transformers' own checkpoints are read as its tokenizer reads them, others as OpenAI's does.
    """
    (draft.folder / "tokenizer.json").write_text(tokenizer_json(checkpoint), encoding="utf-8")
    return TextRule(
        max_tokens=context,
        length=context if whole else 0,
        cleaning="none" if checkpoint.config.get("model_type") == "clip" else "openai",
        sentence=sentence,
        instructed=sentence,
    )

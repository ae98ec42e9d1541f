"""Makes a served folder of a ColQwen2 checkpoint: whole, an adapter, or the library's port."""

from tamis.models.export import qwen2_vl
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.colpali import AUGMENTATIONS, calls_itself, dim_of, ported
from tamis.models.export.draft import Draft
from tamis.models.export.prompted import built, sized, write
from tamis.models.networks.decoder import Decoder
from tamis.models.networks.prompted import MultiVector
from tamis.models.networks.qwen2_vl import Vision, shapes
from tamis.models.runtimes.prompted import PromptedRecipe

PAGE = f"<|im_start|>user\n{qwen2_vl.FRAMED}Describe the image.<|im_end|><|endoftext|>"
MOST = 768  # visual tokens of a page, unless the checkpoint says
WORDS = 512  # tokens of a text, and more than a page's prompt has


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is a ColQwen2."""
    return calls_itself(checkpoint, "colqwen2")


def export(checkpoint: Checkpoint, draft: Draft) -> PromptedRecipe:
    """Writes the graphs; `query_prefix` is a setting, because versions of the authors' code differ.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    dim = dim_of(checkpoint)
    vision, language = sized(checkpoint, shapes)
    model = built(
        checkpoint,
        lambda _: MultiVector(Vision(vision), Decoder(language), dim),
        qwen2_vl.renamed,
    )
    patching = qwen2_vl.patching_of(checkpoint, vision, most=MOST)
    recipe = PromptedRecipe(
        name=draft.name(checkpoint),
        method="colqwen2",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=dim,
        width=language.width,
        max_tokens=patching.tokens((1, patching.max_patches)) + WORDS,
        image_token=qwen2_vl.IMAGE_TOKEN,
        templates=templates(checkpoint, draft),
        patching=patching,
    )
    cases = qwen2_vl.image_cases(patching, vision)
    write(draft, checkpoint, model, recipe, cases, qwen2_vl.IMAGE_DYNAMIC)
    return recipe


def templates(checkpoint: Checkpoint, draft: Draft) -> dict[str, str]:
    """The prompts, which the library's port and the authors' own code build differently."""
    port = ported(checkpoint)
    prefix = draft.options.settings.get("query_prefix", "Query: " if port else "")
    text = f"{prefix}{{text}}{'<|endoftext|>' * AUGMENTATIONS}" + ("\n" if port else "")
    of_kind = {"text": text, "image": PAGE, "both": PAGE}
    return {f"{side}_{kind}": of_kind[kind] for side in ("query", "document") for kind in of_kind}

"""Exports FLMR and PreFLMR: `image` looks at pictures, `query` and `document` make rows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from tokenizers import AddedToken, BertWordPieceTokenizer
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.preprocessing import transform
from tamis.models.export.texts import TEXTS
from tamis.models.networks.flmr import BERT_BASE, Flmr, Image, Side, complete, separate
from tamis.models.runtimes.late_interaction import filled
from tamis.models.runtimes.multimodal_rows import FLMRRecipe
from tamis.models.runtimes.tokenizer import Tokenizer

DOCUMENT_TOKENS = 512
BATCHES = (2, 1, 3)
LENGTHS = (7, 3, 5)  # of the random documents
IGNORED = (".text_model.", ".pooler.", "position_ids")
SHARED = (
    ("text", ("context_text_encoder.", "context_text_encoder_linear.")),
    ("vision", ("context_vision_encoder.", "context_vision_projection.")),
)
ROWS = ("text", "image")
TEXT = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}}
QUERY = {"input_ids": {0: "batch"}, "attention_mask": {0: "batch"}}  # all are of one length


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is an FLMR without a mapping network."""
    config = checkpoint.config
    return config.get("model_type") == "flmr" and not config.get("use_transformer_mapping_network")


def export(checkpoint: Checkpoint, draft: Draft, method: str = "flmr") -> FLMRRecipe:
    """Writes the graphs and the tokenizer.

    Raises:
        ModelError: The checkpoint is of another kind or damaged.
    """
    config = complete(checkpoint.config)
    try:
        model = Flmr(config, config.get("transformer_mapping_bert_config", BERT_BASE))
    except (KeyError, ValueError) as error:  # of the mapping layers, or of a library's own part
        raise ModelError(f"{checkpoint.name}: config.json: {error}") from error
    tensors = checkpoint.tensors()
    load(model, tensors, rename=renaming(config, tensors))
    put_tokenizer(checkpoint, draft)
    recipe = recipe_of(checkpoint, draft, method)
    write(draft, model, recipe)
    return recipe


def recipe_of(checkpoint: Checkpoint, draft: Draft, method: str) -> FLMRRecipe:
    """What the model is to be served with.

    Raises:
        ModelError: The tokenizer lacks a token that the model needs.
    """
    config, rules = complete(checkpoint.config), Tokenizer.open(draft.folder, max_length=8).whole
    text, vision = config["text_config"], config["vision_config"]
    positions = text["max_position_embeddings"]

    def token(name: str) -> int:
        found: int | None = rules.token_to_id(name)
        if found is None:
            raise ModelError(f"{checkpoint.name}: the tokenizer has no {name}")
        return found

    end = config.get("mask_instruction_token")
    side, patch = vision["image_size"], vision["patch_size"]
    mapped = bool(config.get("use_transformer_mapping_network"))
    documents = int(draft.options.settings.get("document_tokens", DOCUMENT_TOKENS))
    return FLMRRecipe(
        name=draft.name(checkpoint),
        method=method,
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=config["dim"],
        query_tokens=min(text["query_maxlen"], positions),
        document_tokens=min(documents, positions),
        query_marker=token(config.get("query_token_id", "[unused0]")),
        document_marker=token(config.get("context_token_id", "[unused1]")),
        mask_token=token("[MASK]"),
        instruction_end=token(end) if end else None,
        features=vision["hidden_size"],
        patches=(side // patch) ** 2 if mapped else 0,
        separate=separate(config, "vision"),
        transform=transform(checkpoint, side),
    )


def renaming(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Callable[[str], str | None]:
    """From a checkpoint's key to the network's; what is shared may be under either side's name."""
    shared = [
        prefix for kind, prefixes in SHARED if not separate(config, kind) for prefix in prefixes
    ]

    def rename(key: str) -> str | None:
        if any(part in key for part in IGNORED):
            return None
        if key.startswith(tuple(shared)):
            twin = key.replace("context_", "query_", 1)
            return None if twin in tensors else _unwrapped(twin)
        return _unwrapped(key)

    return rename


def _unwrapped(key: str) -> str:
    return key.replace("vision_model.vision_model.", "vision_model.", 1)


def put_tokenizer(checkpoint: Checkpoint, draft: Draft) -> None:
    """Writes `tokenizer.json`; made of the vocabulary where the checkpoint has none.

    Raises:
        ModelError: It has neither.
    """
    folders = (checkpoint.folder, checkpoint.folder / "query_tokenizer")
    for folder in folders:
        if (folder / "tokenizer.json").exists():
            draft.copy(folder / "tokenizer.json")
            return
    for folder in folders:
        if (vocabulary := folder / "vocab.txt").exists():
            made = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
            own = Checkpoint(folder, checkpoint.name, {}).table("added_tokens.json")
            # In the order of their ids, which go on where the vocabulary ends.
            made.add_special_tokens([AddedToken(name) for name in sorted(own, key=own.__getitem__)])
            made.save(str(draft.folder / "tokenizer.json"))
            return
    raise ModelError(f"{checkpoint.folder}: has neither tokenizer.json nor vocab.txt")


def write(draft: Draft, model: Flmr, recipe: FLMRRecipe) -> None:
    """Writes the graphs.

    Raises:
        ModelError: One differs from its network.
    """
    pixels = _pixels(recipe)
    towers = {"image": "query"} | ({"document_image": "context"} if recipe.separate else {})
    for name, side in towers.items():
        tower = Image(model, side, patches=bool(recipe.patches))
        draft.graph(
            name,
            tower,
            ("features", "patches") if recipe.patches else ("features",),
            [{"pixels": pixels}],
            dynamic={"pixels": {0: "images"}},
            drawn=[{"pixels": torch.randn(1, *pixels.shape[1:], generator=_random())}],
        )
    regions = {"features": {0: "batch", 1: "regions"}}
    mapped = {"patches": {0: "batch"}} if recipe.patches else {}
    query, document = _real(draft.folder, model, recipe, pixels)
    draft.graph(
        "query",
        Side(model, "query"),
        ROWS,
        [query],
        dynamic=QUERY | regions | mapped,
        drawn=_drawn(model, recipe, [recipe.query_tokens] * len(BATCHES), recipe.patches),
    )
    draft.graph(
        "document",
        Side(model, "context"),
        ROWS,
        [document],
        dynamic=TEXT | regions,
        drawn=_drawn(model, recipe, LENGTHS, 0),
    )


@torch.no_grad()
def _real(
    folder: Path, model: Flmr, recipe: FLMRRecipe, pixels: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A query's and a document's inputs, of sentences and of drawn pictures in two regions."""
    texts = TEXTS[: len(pixels)]
    asked = Tokenizer.open(folder, max_length=recipe.query_tokens - 1).encode(texts)
    read = Tokenizer.open(folder, max_length=recipe.document_tokens - 1).encode(texts)
    ids, mask = filled(asked.marked(recipe.query_marker), recipe)
    # In one piece: torch's exporter cannot write how a view of another tensor strides.
    features, patches = (seen.contiguous() for seen in Image(model, "query")(pixels))
    regions = {"features": torch.stack([features, features.flip(0)], dim=1)}
    query = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    inputs = read.marked(recipe.document_marker).inputs()
    document = {name: torch.from_numpy(array) for name, array in inputs.items()}
    mapped = {"patches": patches} if recipe.patches else {}
    return query | regions | mapped, document | regions


def _drawn(
    model: Flmr, recipe: FLMRRecipe, lengths: Sequence[int], patches: int
) -> list[dict[str, Tensor]]:
    """Random batches, padded at the end, with as many regions as rows."""
    random, words = _random(), model.config["text_config"]["vocab_size"]
    cases = []
    for batch, length in zip(BATCHES, lengths, strict=True):
        ends = torch.linspace(length, (length + 1) // 2, batch).long()
        case = {
            "input_ids": torch.randint(0, words, (batch, length), generator=random),
            "attention_mask": (torch.arange(length) < ends[:, None]).long(),
            "features": torch.randn(batch, batch, recipe.features, generator=random),
        }
        if patches:
            case["patches"] = torch.randn(batch, patches, recipe.features, generator=random)
        cases.append(case)
    return cases


def _pixels(recipe: FLMRRecipe) -> Tensor:
    """Two drawn pictures."""
    slope = Pillow.linear_gradient("L").convert("RGB")
    drawn = [recipe.transform(picture) for picture in (slope, slope.rotate(90))]
    return torch.stack([torch.from_numpy(picture) for picture in drawn])


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(0)

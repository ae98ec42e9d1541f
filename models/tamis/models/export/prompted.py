"""Exports vision-language models in two graphs: one sees pictures, one reads whole prompts.

`image` makes visual tokens; `joint` reads words with them in their places. Apart, a text costs no
vision tower, and the language tower's weights are stored once for both sides.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.lora import CONFIG, base_of, merged_tensors
from tamis.models.networks.decoder import DecoderShape
from tamis.models.networks.prompted import MultiVector, Prompted
from tamis.models.runtimes.prompted import PromptedRecipe
from tamis.models.runtimes.prompts import Prompts
from tamis.models.runtimes.texts import Texts
from tamis.models.types import Content

T = TypeVar("T")
SAMPLE = "Which of the two bridges is longer, and by how much?"
LENGTHS = ((2, 12), (1, 1), (3, 29))  # of the random batches
DYNAMIC: Mapping[str, Mapping[int, str]] = {
    "input_ids": {0: "batch", 1: "length"},
    "attention_mask": {0: "batch", 1: "length"},
    "positions": {1: "batch", 2: "length"},
    "visual": {0: "visual_tokens"},
    "visual_places": {0: "batch", 1: "length"},
}


class Cases(NamedTuple):
    """Inputs of a graph by name: to trace, compare and calibrate with; and more to compare on."""

    real: Sequence[Mapping[str, Tensor]]
    drawn: Sequence[Mapping[str, Tensor]]


def outer_config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The model's configuration; that of its base for an adapter, which has none."""
    adapter = checkpoint.table(CONFIG)
    return base_of(checkpoint, adapter).config if adapter else checkpoint.config


def config_of(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The backbone's configuration, without a port's wrapper."""
    config = outer_config(checkpoint)
    wrapped: Mapping[str, Any] = config.get("vlm_config", config)
    return wrapped


def built(
    checkpoint: Checkpoint,
    network: Callable[[Mapping[str, Any]], Prompted],
    rename: Callable[[str], str | None],
) -> Prompted:
    """A checkpoint's network with its weights, an adapter merged.

    Raises:
        ModelError: The configuration lacks a size or is of another kind, or a key does not fit.
    """
    model = sized(checkpoint, network)
    load(model, merged_tensors(checkpoint, rename))
    return model


def sized(checkpoint: Checkpoint, of: Callable[[Mapping[str, Any]], T]) -> T:
    """What `of` makes of a checkpoint's configuration.

    Raises:
        ModelError: It lacks a size, or is of another kind.
    """
    try:
        return of(config_of(checkpoint))
    except KeyError as error:
        raise ModelError(f"{checkpoint.name}: config.json: {error.args[0]}: missing") from error
    except ValueError as error:
        raise ModelError(f"{checkpoint.name}: config.json: {error}") from error


def write(
    draft: Draft,
    checkpoint: Checkpoint,
    model: Prompted,
    recipe: PromptedRecipe,
    pictures: Cases,
    dynamic: Mapping[str, Mapping[int, str]],
) -> None:
    """Writes both graphs and the tokenizer.

    Args:
        draft: Where they go.
        checkpoint: What the tokenizer is taken from.
        model: The network.
        recipe: What it is to be served with.
        pictures: Inputs of the vision tower.
        dynamic: Their free axes.

    Raises:
        ModelError: A graph differs from its network, or the checkpoint's files do not fit.
    """
    draft.copy(tokenizer_of(checkpoint))
    draft.graph(
        "image", model.visual, ["tokens"], pictures.real, dynamic=dynamic, drawn=pictures.drawn
    )
    output = "vectors" if isinstance(model, MultiVector) else "embedding"
    cases = joint_cases(model.language_model.shape, prompts_of(draft.folder, recipe))
    draft.graph("joint", model, [output], cases.real, dynamic=DYNAMIC, drawn=cases.drawn)


def tokenizer_of(checkpoint: Checkpoint) -> Path:
    """The checkpoint's `tokenizer.json`, or that of the base of an adapter without one."""
    own = checkpoint.folder / "tokenizer.json"
    if not own.exists() and (adapter := checkpoint.table(CONFIG)):
        return base_of(checkpoint, adapter).folder / "tokenizer.json"
    return own


def prompts_of(folder: Path, recipe: PromptedRecipe) -> list[list[int]]:
    """The tokens of one prompt of each of the recipe's templates.

    Raises:
        ModelError: The recipe and the tokenizer do not go together.
    """
    prompts = Prompts(
        Texts.of((folder / "tokenizer.json").read_text(encoding="utf-8")),
        recipe.templates,
        recipe.image_token,
        recipe.instructions,
        recipe.max_tokens,
    )
    content = Content(text=SAMPLE)
    return [prompts.ids(kind, content, 4 * prompts.pictured(kind)) for kind in recipe.templates]


def joint_cases(shape: DecoderShape, prompts: Sequence[Sequence[int]]) -> Cases:
    """Batches for the language tower: the prompts in one, and random ones of several shapes."""
    random = torch.Generator().manual_seed(0)
    drawn = [torch.randint(0, shape.vocabulary, size, generator=random) for size in LENGTHS]
    lengths = torch.tensor([len(ids) for ids in prompts])
    padded = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, ids in enumerate(prompts):
        padded[row, : len(ids)] = torch.tensor(ids)
    # The image token may stand beyond the words: it is never looked up.
    padded[padded >= shape.vocabulary] = 0
    return Cases(
        [_joint_case(shape, padded, lengths, random)],
        [_joint_case(shape, ids, _falling(*ids.shape), random) for ids in drawn],
    )


def _falling(batch: int, length: int) -> Tensor:
    return torch.linspace(length, (length + 1) // 2, batch).long()


def _joint_case(
    shape: DecoderShape, ids: Tensor, lengths: Tensor, random: torch.Generator
) -> dict[str, Tensor]:
    batch, length = ids.shape
    axes, seen = len(shape.sections), length // 3
    positions = torch.arange(length).expand(axes, batch, length)
    places = torch.full((batch, length), -1)
    places[:, :seen] = torch.arange(batch * seen).view(batch, -1)
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(length) < lengths[:, None]).long(),
        "positions": positions + torch.arange(axes)[:, None, None],
        "visual": torch.randn(max(2, batch * seen), shape.width, generator=random),
        "visual_places": places,
    }

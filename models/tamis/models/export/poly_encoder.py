"""Exports a Poly-encoder: two BERTs and the query's codes.

Its authors publish pickles in a layout of their own, so this is ours: a folder whose `config.json`
holds the keys of `PolyConfig`, with the Hugging Face folders `query_encoder/` and
`document_encoder/`, and `codes` in `model.safetensors` where codes are learned.
"""

from dataclasses import dataclass

from torch import nn

from tamis.models.encoders.poly_encoder import PolyEncoderRecipe
from tamis.models.errors import ModelError, SettingsError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.texts import DYNAMIC, drawn_cases, max_tokens, put_tokenizer, text_cases
from tamis.models.networks.bert import IGNORED, POOLINGS, backbone, key_of, max_positions
from tamis.models.networks.poly_encoder import ATTENTIONS, Codes, First, One
from tamis.models.settings import build

POOLED = {"mean": "mean", "first": "cls", "max": "max"}  # ParlAI's names of a reduction


@dataclass(frozen=True, kw_only=True)
class PolyConfig:
    """What a Poly-encoder's `config.json` says.

    Attributes:
        model_type: ``poly_encoder``.
        type: ``codes`` that were learned, or the ``n_first`` states.
        attention: Of the codes: ``basic`` or ``sqrt``.
        n_first: How many states, for that type.
        reduction: How a document's states become one vector: ``mean``, ``first`` or ``max``.
    """

    model_type: str
    type: str = "codes"
    attention: str = "basic"
    n_first: int = 64
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if self.type not in ("codes", "n_first"):
            raise ValueError(f"type must be codes or n_first, not {self.type!r}")
        if self.attention not in ATTENTIONS:
            raise ValueError(f"attention must be {' or '.join(ATTENTIONS)}, not {self.attention!r}")
        if self.reduction not in POOLED:
            raise ValueError(f"reduction must be one of {[*POOLED]}, not {self.reduction!r}")


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it says that it is a Poly-encoder."""
    return checkpoint.config.get("model_type") == "poly_encoder"


def export(checkpoint: Checkpoint, draft: Draft) -> PolyEncoderRecipe:
    """Writes the graphs `query` and `document` and their tokenizer.

    Raises:
        ModelError: A part is missing, a setting is unknown, or a tensor does not fit.
    """
    try:
        said = build(PolyConfig, checkpoint.config, where=str(checkpoint.folder / "config.json"))
    except SettingsError as error:
        raise ModelError(str(error)) from error
    query = Checkpoint.open(checkpoint.part("query_encoder"))
    document = Checkpoint.open(checkpoint.part("document_encoder"))
    put_tokenizer(query, draft)
    limit = max_tokens(query, max_positions(query.config))
    networks = {
        "query": query_network(checkpoint, query, said),
        "document": One(tower(document), POOLINGS[POOLED[said.reduction]]),
    }
    cases, drawn = text_cases(draft, limit), drawn_cases(query.config["vocab_size"], limit)
    for side, network in networks.items():
        draft.graph(side, network, ("poly",), cases, dynamic=DYNAMIC, drawn=drawn)
    return PolyEncoderRecipe(
        name=draft.name(checkpoint),
        method="poly_encoder",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=query.config["hidden_size"],
        max_tokens=limit,
        n_first=said.n_first if said.type == "n_first" else 0,
    )


def query_network(checkpoint: Checkpoint, query: Checkpoint, said: PolyConfig) -> nn.Module:
    """The query's side with its weights.

    Raises:
        ModelError: The codes are missing or of another width, or a tensor does not fit.
    """
    if said.type == "n_first":
        return First(tower(query), said.n_first)
    held = checkpoint.tensors()
    if "codes" not in held:
        raise ModelError(f"{checkpoint.name}: codes: missing")
    made = Codes(tower(query), len(held["codes"]), query.config["hidden_size"], said.attention)
    parts = {f"backbone.{key}": tensor for key, tensor in made.backbone.state_dict().items()}
    load(made, parts | held)
    return made


def tower(checkpoint: Checkpoint) -> nn.Module:
    """A BERT with its weights.

    Raises:
        ModelError: A tensor does not fit.
    """
    made = backbone(checkpoint.config)
    load(made, checkpoint.tensors(), rename=key_of, ignore=IGNORED)
    return made

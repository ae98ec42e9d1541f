"""Exports ColBERT in the layout of its authors: BERT, `linear.weight`, `artifact.metadata`."""

from typing import Any

from tamis.models.encoders.colbert import ColBERTRecipe
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.texts import DYNAMIC, drawn_cases, put_tokenizer, text_cases
from tamis.models.networks.bert import max_positions
from tamis.models.networks.colbert import Colbert
from tamis.models.runtimes.tokenizer import Tokenizer

METADATA = "artifact.metadata"
DEFAULTS: dict[str, Any] = {  # of the authors' settings, for a checkpoint that does not say them
    "query_maxlen": 32,
    "doc_maxlen": 220,
    "query_token_id": "[unused0]",
    "doc_token_id": "[unused1]",
    "attend_to_mask_tokens": False,
    "mask_punctuation": True,
}


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it says that it is ColBERT."""
    architectures = checkpoint.config.get("architectures") or ()
    return METADATA in checkpoint.files or "HF_ColBERT" in architectures


def export(checkpoint: Checkpoint, draft: Draft) -> ColBERTRecipe:
    """Writes the graph `text` and the tokenizer.

    Raises:
        ModelError: It has no projection, its similarity is not the cosine, its tokenizer lacks a
            marker, or a tensor does not fit.
    """
    said = DEFAULTS | {k: v for k, v in checkpoint.table(METADATA).items() if v is not None}
    if said.get("similarity", "cosine") != "cosine":
        raise ModelError(f"{METADATA}: similarity: {said['similarity']!r}, not 'cosine'")
    config, tensors = checkpoint.config, checkpoint.tensors()
    if "linear.weight" not in tensors:
        raise ModelError(f"{checkpoint.name}: linear.weight: missing")
    dim = tensors["linear.weight"].shape[0]
    network = Colbert(config, dim)
    load(network, tensors, ignore=("bert.pooler.*", "*position_ids"))
    put_tokenizer(checkpoint, draft)
    ids = marker_ids(draft, said)
    positions = max_positions(config)
    query, document = (min(int(said[key]), positions) for key in ("query_maxlen", "doc_maxlen"))
    cases, drawn = text_cases(draft, document), drawn_cases(config["vocab_size"], document)
    draft.graph("text", network, ("tokens",), cases, dynamic=DYNAMIC, drawn=drawn)
    return ColBERTRecipe(
        name=draft.name(checkpoint),
        method="colbert",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=dim,
        query_tokens=query,
        document_tokens=document,
        query_marker=ids["query"],
        document_marker=ids["document"],
        mask_token=ids["mask"],
        attend_to_mask_tokens=bool(said["attend_to_mask_tokens"]),
        mask_punctuation=bool(said["mask_punctuation"]),
    )


def marker_ids(draft: Draft, said: dict[str, Any]) -> dict[str, int]:
    """The ids of the markers and of the mask token.

    Raises:
        ModelError: The tokenizer does not have one.
    """
    rules = Tokenizer.open(draft.folder, max_length=8).whole
    names = {"query": said["query_token_id"], "document": said["doc_token_id"], "mask": "[MASK]"}
    found = {role: rules.token_to_id(name) for role, name in names.items()}
    for role, token in found.items():
        if token is None:
            raise ModelError(f"tokenizer.json: has no token {names[role]!r}")
    return {role: int(token) for role, token in found.items() if token is not None}

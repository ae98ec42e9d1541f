"""Exports DPR: a question encoder and a context encoder, which are published as two checkpoints.

Reads a folder with both (`question_encoder/`, `ctx_encoder/`), or the question encoder together
with the setting `passages`, which names the context encoder's folder or hub id.
"""

from torch import nn

from tamis.models.encoders.dpr import DPRRecipe
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.texts import (
    DYNAMIC,
    TEXTS,
    drawn_cases,
    max_tokens,
    put_tokenizer,
    text_cases,
)
from tamis.models.networks.bert import IGNORED, Embedding, backbone, max_positions

MAX_TOKENS = 256
PARTS = {"query": "question_encoder", "document": "ctx_encoder"}


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is DPR's, or a folder with both of its encoders."""
    return checkpoint.config.get("model_type") == "dpr" or all(
        (checkpoint.folder / part).is_dir() for part in PARTS.values()
    )


def export(checkpoint: Checkpoint, draft: Draft) -> DPRRecipe:
    """Writes the graphs `query` and `document` and their tokenizer.

    Raises:
        ModelError: There is only one encoder, their sizes differ, or a tensor does not fit.
    """
    towers = both(checkpoint, draft.options.settings.get("passages", ""))
    networks = {side: network(tower, PARTS[side]) for side, tower in towers.items()}
    dims = {side: _dim(towers[side]) for side in towers}
    if len(set(dims.values())) > 1:
        raise ModelError(f"{checkpoint.name}: the encoders' embeddings differ in length: {dims}")
    put_tokenizer(towers["query"], draft)
    config = {**towers["query"].config, "model_type": "bert"}
    limit = min(MAX_TOKENS, max_tokens(towers["query"], max_positions(config)))
    drawn = drawn_cases(config["vocab_size"], limit)
    pairs = list(zip(TEXTS[::2], TEXTS[1::2], strict=True))
    for side, texts in (("query", TEXTS), ("document", pairs)):
        cases = text_cases(draft, limit, texts)
        draft.graph(side, networks[side], ("embedding",), cases, dynamic=DYNAMIC, drawn=drawn)
    return DPRRecipe(
        name=draft.name(checkpoint),
        method="dpr",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=dims["query"],
        max_tokens=limit,
    )


def both(checkpoint: Checkpoint, passages: str) -> dict[str, Checkpoint]:
    """The two encoders' checkpoints.

    Raises:
        ModelError: One is missing.
    """
    folders = {side: checkpoint.folder / part for side, part in PARTS.items()}
    if all(folder.is_dir() for folder in folders.values()):
        return {side: Checkpoint.open(folder) for side, folder in folders.items()}
    if not passages:
        raise ModelError(
            f"{checkpoint.name}: has one encoder; name that of the passages with the setting "
            "passages=FOLDER or passages=HUB_ID"
        )
    return {"query": checkpoint, "document": Checkpoint.open(passages)}


def network(checkpoint: Checkpoint, part: str) -> Embedding:
    """One encoder with its weights.

    Raises:
        ModelError: A tensor does not fit.
    """
    config, dim = checkpoint.config, checkpoint.config.get("projection_dim", 0)
    after = [nn.Linear(config["hidden_size"], dim)] if dim else []
    made = Embedding(backbone({**config, "model_type": "bert"}), ("cls",), after)

    def rename(key: str) -> str:
        key = key.removeprefix(f"{part}.")
        key = key.replace("bert_model.", "backbone.", 1)
        return key.replace("encode_proj.", "after.0.", 1)

    load(made, checkpoint.tensors(), rename=rename, ignore=IGNORED)
    return made


def _dim(checkpoint: Checkpoint) -> int:
    return checkpoint.config.get("projection_dim", 0) or checkpoint.config["hidden_size"]

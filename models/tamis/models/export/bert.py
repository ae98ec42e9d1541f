"""Exports sentence encoders: a Hugging Face BERT, RoBERTa or XLM-R, as sentence-transformers says.

`modules.json` names the steps after the encoder (pooling, linear maps, normalisation). A checkpoint
without it is pooled by its mean and normalised, which is sentence-transformers' own rule.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from tamis.models.encoders.bert import BertRecipe
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.texts import DYNAMIC, drawn_cases, max_tokens, put_tokenizer, text_cases
from tamis.models.networks.bert import (
    IGNORED,
    MODELS,
    POOLINGS,
    Normalise,
    Sentence,
    backbone,
    key_of,
    max_positions,
)

ENCODERS = ("Model", "ForMaskedLM", "ForPreTraining")  # how their `architectures` end
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "Tanh": nn.Tanh,
    "Identity": nn.Identity,
    "GELU": nn.GELU,
    "ReLU": nn.ReLU,
}
# What was put before queries and documents in training, where the checkpoint does not say it.
PREFIXES = {
    "*multilingual-e5*-instruct*": ("", ""),  # its instruction is of the task
    "*e5-*": ("query: ", "passage: "),
    "*bge-*-en*": ("Represent this sentence for searching relevant passages: ", ""),
    "*bge-*-zh*": ("为这个句子生成表示以用于检索相关文章\uff1a", ""),
}


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it is an encoder of `MODELS` without a head for a task, and not ColBERT's."""
    config = checkpoint.config
    if not config and "modules.json" in checkpoint.files:
        first = checkpoint.rows("modules.json")[0]
        config = checkpoint.table(f"{first['path']}/config.json")
    if config.get("model_type") not in MODELS or "artifact.metadata" in checkpoint.files:
        return False
    return any(name.endswith(ENCODERS) for name in config.get("architectures") or ENCODERS)


def export(checkpoint: Checkpoint, draft: Draft) -> BertRecipe:
    """Writes the graph `text` and the tokenizer.

    Raises:
        ModelError: A step of `modules.json` is not known, or a tensor does not fit.
    """
    tower, poolings, after = steps(checkpoint)
    config = tower.config
    network = Sentence(backbone(config), poolings, after)
    load(network.backbone, tower.tensors(), rename=key_of, ignore=IGNORED)
    put_tokenizer(tower, draft)
    limit = max_tokens(tower, max_positions(config))
    cases, drawn = text_cases(draft, limit), drawn_cases(config["vocab_size"], limit)
    draft.graph("text", network, ("embedding", "states"), cases, dynamic=DYNAMIC, drawn=drawn)
    query, document = prefixes(checkpoint)
    draft.report(f"before a query: {query!r}; before a document: {document!r}")
    return BertRecipe(
        name=draft.name(checkpoint),
        method="bert",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=_dim(network, config["hidden_size"]),
        width=config["hidden_size"],
        max_tokens=limit,
        query_prefix=query,
        document_prefix=document,
    )


def steps(checkpoint: Checkpoint) -> tuple[Checkpoint, tuple[str, ...], list[nn.Module]]:
    """The encoder's own checkpoint, the poolings, and what comes after them, with its weights.

    Raises:
        ModelError: A step is not known, or its file is missing or damaged.
    """
    if "modules.json" not in checkpoint.files:
        return checkpoint, ("mean",), [Normalise()]
    tower, after = checkpoint, list[nn.Module]()
    poolings: tuple[str, ...] = ("mean",)
    for module in checkpoint.rows("modules.json"):
        kind, part = str(module["type"]).rpartition(".")[2], str(module["path"])
        if kind == "Transformer":
            tower = Checkpoint.open(checkpoint.part(part))
        elif kind == "Pooling":
            poolings = pooling(checkpoint.table(f"{part}/config.json"), f"{part}/config.json")
        elif kind == "Dense":
            after.append(dense(Checkpoint.open(checkpoint.part(part))))
        elif kind == "Normalize":
            after.append(Normalise())
        else:
            raise ModelError(f"{checkpoint.folder / 'modules.json'}: {kind}: an unknown step")
    return tower, poolings, after


def pooling(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The poolings that a step's `config.json` asks for, by either of its two spellings.

    Raises:
        ModelError: One is unknown, or the prompt is to be left out of it.
    """
    if config.get("include_prompt") is False:
        raise ModelError(f"{where}: include_prompt: false is not supported: prompts are pooled")
    if "pooling_mode" in config:
        told = config["pooling_mode"]
        modes = (told,) if isinstance(told, str) else tuple(told)
    else:
        keys = {mode: f"pooling_mode_{_FLAGS.get(mode, mode)}" for mode in POOLINGS}
        modes = tuple(mode for mode, key in keys.items() if config.get(key)) or ("mean",)
    for mode in modes:
        if mode not in POOLINGS:
            raise ModelError(f"{where}: pooling_mode: {mode!r} is not one of: {[*POOLINGS]}")
    return modes


_FLAGS = {mode: f"{mode}_tokens" for mode in ("max", "mean", "weightedmean")} | {"cls": "cls_token"}


def dense(checkpoint: Checkpoint) -> nn.Module:
    """A linear map and what follows it.

    Raises:
        ModelError: Its activation is unknown, or a tensor does not fit.
    """
    config = checkpoint.config
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise ModelError(
            f"{checkpoint.folder / 'config.json'}: activation_function: {activation!r} is not one "
            f"of: {', '.join(ACTIVATIONS)}"
        )
    bias = config.get("bias", True)
    linear = nn.Linear(config["in_features"], config["out_features"], bias=bias)
    load(linear, checkpoint.tensors(), rename=lambda key: key.removeprefix("linear."))
    return nn.Sequential(linear, ACTIVATIONS[activation]())


def prefixes(checkpoint: Checkpoint) -> tuple[str, str]:
    """What is put before a query and before a document.

    The prompts of `config_sentence_transformers.json`, or else what is known of the model's name.
    """
    said = checkpoint.table("config_sentence_transformers.json").get("prompts") or {}
    query = said.get("query", "")
    document = said.get("document") or said.get("passage") or ""
    if query or document:
        return query, document
    name = checkpoint.name.lower()
    known = (found for pattern, found in PREFIXES.items() if fnmatchcase(name, pattern))
    return next(known, ("", ""))


def _dim(network: Sentence, width: int) -> int:
    linear = [module for module in network.after.modules() if isinstance(module, nn.Linear)]
    return linear[-1].out_features if linear else width * len(network.poolings)

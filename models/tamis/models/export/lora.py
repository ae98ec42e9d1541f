"""Merges LoRA adapters into the weights that they adapt: W + s B A, and nothing of them is left."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, read_tensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
FACTOR = re.compile(r"^(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.[^.]+)?\.weight$")
PREFIX = "base_model.model."  # what the adapters' library puts before the model's own names
SAVED = re.compile(r"\.modules_to_save(?:\.default)?\.|\.base_layer\.")
REFUSED = ("use_dora", "fan_in_fan_out", "lora_bias")


def merged_tensors(
    checkpoint: Checkpoint, rename: Callable[[str], str | None]
) -> dict[str, Tensor]:
    """A checkpoint's weights by the network's names, an adapter merged into its base.

    Args:
        checkpoint: With weights of its own, or with an adapter that names its base: a folder, one
            beside the checkpoint, or a hub id.
        rename: From a checkpoint's key, or an adapter's less its library's prefix, to the
            network's; None for one that is not read.

    Raises:
        ModelError: The base or a key that is adapted is missing, a factor has no partner or
            another shape, or the adapter is of a kind that is not merged here.
    """
    config = checkpoint.table(CONFIG)
    if not config:
        return renamed(checkpoint.tensors(), rename)
    base = renamed(base_of(checkpoint, config).tensors(), rename)
    adapter = read_tensors(checkpoint.folder / WEIGHTS)
    factors = {key: tensor for key, tensor in adapter.items() if FACTOR.match(key)}
    whole = {key: tensor for key, tensor in adapter.items() if key not in factors}
    return merge(base, factors, config, rename) | renamed(
        {SAVED.sub(".", key.removeprefix(PREFIX)): tensor for key, tensor in whole.items()}, rename
    )


def base_of(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Checkpoint:
    """What an adapter adapts.

    Raises:
        ModelError: It does not say, or there is no such folder or model.
    """
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ModelError(f"{checkpoint.folder / CONFIG}: base_model_name_or_path: missing")
    beside = checkpoint.folder / name
    return Checkpoint.open(beside if beside.is_dir() else name)


def renamed(
    tensors: Mapping[str, Tensor], rename: Callable[[str], str | None]
) -> dict[str, Tensor]:
    """The tensors by the network's names, without those that are not read.

    Raises:
        ModelError: Two keys have one name.
    """
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = rename(key)
        if name is not None and name in found:
            raise ModelError(f"{key}: a second tensor for {name}")
        if name is not None:
            found[name] = tensor
    return found


def merge(
    base: Mapping[str, Tensor],
    factors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    rename: Callable[[str], str | None],
) -> dict[str, Tensor]:
    """The base with the product of each pair of factors added, times its scale.

    Args:
        base: Weights by the network's names.
        factors: The adapter's, by its own: A narrows the input to the rank, B widens it again.
        config: The adapter's `adapter_config.json`.
        rename: From an adapter's key less its library's prefix to the network's.

    Raises:
        ModelError: See `merged_tensors`.
    """
    for key in REFUSED:
        if config.get(key):
            raise ModelError(f"{CONFIG}: {key}: {config[key]!r}, and only plain LoRA is merged")
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in factors.items():
        match = FACTOR.match(key)
        if match is not None:
            pairs.setdefault(match["layer"], {})[match["part"]] = tensor
    merged = dict(base)
    for layer, pair in pairs.items():
        name = rename(f"{layer.removeprefix(PREFIX)}.weight")
        if missing := {"A", "B"} - pair.keys():
            raise ModelError(f"{layer}.lora_{missing.pop()}: missing")
        if name is None or name not in merged:
            raise ModelError(f"{layer}: unknown: the base has no weight for it to adapt")
        down, up, old = pair["A"], pair["B"], merged[name]
        if (up.shape[0], down.shape[1]) != old.shape or up.shape[1] != down.shape[0]:
            found = f"{list(up.shape)} times {list(down.shape)}"
            raise ModelError(f"{layer}: expected {list(old.shape)}, got {found}")
        merged[name] = old + scale(config, layer, down.shape[0]) * (up @ down)
    return merged


def scale(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """What a layer's product is multiplied by: alpha over the rank, or over its root."""
    alpha = config.get("lora_alpha", 8)
    for pattern, own in (config.get("alpha_pattern") or {}).items():
        if re.search(rf"(^|\.){pattern}$", layer):
            alpha = own
    divisor = rank**0.5 if config.get("use_rslora") else rank
    return float(alpha / divisor)

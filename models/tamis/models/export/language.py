"""What exporters of language models share: the network, its tokenizer, and what a recipe says."""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.runtimes.hf.loading import Reading

BUFFERS = ("*.attn.bias", "*.attn.masked_bias", "*rotary_emb.inv_freq")  # made, not learned


def built(checkpoint: Checkpoint, kind: Any) -> Any:
    """The checkpoint's network in float32, its attention written out.

    Args:
        checkpoint: The checkpoint.
        kind: Such as `AutoModelForCausalLM`.

    Raises:
        ModelError: A tensor is missing, unknown or of another shape.
    """
    config: Any = AutoConfig.for_model(**checkpoint.config)
    network = kind.from_config(config, attn_implementation="eager", dtype=torch.float32)
    places, base = network.state_dict().keys(), network.base_model_prefix

    def rename(key: str) -> str:
        return key if key in places else f"{base}.{key}"  # GPT-2's own files leave the base out

    load(network, checkpoint.tensors(), rename=rename, ignore=BUFFERS)
    if (checkpoint.folder / "generation_config.json").exists():
        network.generation_config = GenerationConfig.from_pretrained(checkpoint.folder)
    return network.eval().requires_grad_(False)


def read_texts(checkpoint: Checkpoint, network: Any) -> Reading:
    """The checkpoint's tokenizer, as transformers opens it.

    Raises:
        ModelError: There is none, or none with a `tokenizer.json`.
    """
    kind: Any = AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises what its parts raise
        raise ModelError(f"{checkpoint.name}: its tokenizer cannot be opened: {error}") from error
    return Reading.of(tokenizer, network)


def write_texts(draft: Draft, reading: Reading) -> dict[str, Any]:
    """Writes `tokenizer.json`, and what a recipe says of texts."""
    rules = reading.tokenizer.backend_tokenizer.to_str()
    (draft.folder / "tokenizer.json").write_text(rules, encoding="utf-8")
    start = reading.tokenizer.bos_token if reading.texts.start else ""
    return {"start_token": start, "end_ids": reading.end_ids}


def max_tokens(draft: Draft, own: int, *, limit: int) -> int:
    """The setting `max_tokens`, or else the model's own.

    Raises:
        ModelError: The setting is no number, or none from 1 to `limit`.
    """
    said = draft.options.settings.get("max_tokens", str(own))
    if not said.isdecimal() or not 1 <= int(said) <= limit:
        raise ModelError(f"max_tokens: {said!r} is not a number from 1 to {limit}")
    return int(said)


def state_like(shape: tuple[int, int, int], batch: int, tokens: int, seed: int) -> Tensor:
    """A state drawn at random.

    Args:
        shape: Its layers, heads and dimensions of a head.
        batch: Rows.
        tokens: Of each.
        seed: Of the draw.
    """
    layers, heads, dim = shape
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(layers, 2, batch, heads, tokens, dim, generator=drawn)

"""Decoders read in pieces with their state outside, against transformers' own pass over the whole.

Every kind that the exporter takes, in the smallest size.
"""

from typing import Any

import pytest
import torch
import transformers
from tiny_models import SIZES

from tamis.models.export.causal_lm import DECODERS
from tamis.models.networks.cached import CachedDecoder

TOKENS = 25
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2}
OWN: dict[str, dict[str, Any]] = {
    "gemma": {**GROUPED, "head_dim": 8},
    "gemma2": {**GROUPED, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": {**GROUPED, "head_dim": 8, "sliding_window": 8, "sliding_window_pattern": 2},
    "gpt2": {"vocab_size": 416, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 8},
    "opt": {
        "vocab_size": 416, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
    },
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(DECODERS))
@torch.no_grad()
def test_pieces_are_read_as_the_whole(kind: str) -> None:
    torch.manual_seed(1)
    config: Any = transformers.AutoConfig.for_model(kind, **OWN[kind])
    config.bos_token_id = config.eos_token_id = 2
    auto: Any = transformers.AutoModelForCausalLM
    network = auto.from_config(config, attn_implementation="eager").eval()
    for parameter in network.parameters():
        parameter.mul_(4)
    ids = torch.randint(8, 400, (1, TOKENS))
    expected = network(ids, use_cache=False).logits
    cached = CachedDecoder(network)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    nothing = torch.zeros(2, 2, 1, heads, 0, 8)

    def read(ids: torch.Tensor, padding: int, past: torch.Tensor) -> Any:
        """Reads the tokens after a state, with padding on the left."""
        filled = torch.nn.functional.pad(ids, (padding, 0))
        mask = torch.nn.functional.pad(torch.ones_like(ids), (padding, 0))
        kept = torch.arange(padding, filled.shape[1])[None]
        before = torch.ones(1, past.shape[4], dtype=torch.long)
        return cached(filled, mask, past, before, kept)

    begun, state = read(ids[:, :12], 0, nothing)
    rest, added = read(ids[:, 12:], 0, state)
    assert (state.shape[4], added.shape[4]) == (12, TOKENS - 12)
    close = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(torch.cat([begun, rest], dim=1), expected, atol=close, rtol=0)
    padded, _ = read(ids, 5, nothing)
    torch.testing.assert_close(padded, expected, atol=close, rtol=0)

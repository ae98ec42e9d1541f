"""Language models whose attention state is a plain tensor that goes in and comes out.

A library keeps the state in an object, which no graph can take. Here a state is keys and values of
all layers in one tensor, (layers, 2, batch, heads, tokens, dim); a run is given that of the tokens
before and returns that of its own tokens. Masks and positions are made inside, so that whoever
pads on either side, or goes on from a state, gets what whole rows get.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache


class CachedDecoder(nn.Module):
    """A causal language model that transformers builds, with its state outside.

    Attributes:
        network: Such as `LlamaForCausalLM`, with its attention written out (``eager``).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Int[Tensor, "batch length"],
        past: Float[Tensor, "layers 2 batch heads before dim"],
        past_mask: Int[Tensor, "batch before"],
        kept: Int[Tensor, "batch kept"],
    ) -> tuple[
        Float[Tensor, "batch kept vocabulary"], Float[Tensor, "layers 2 batch heads length dim"]
    ]:
        """The logits after the tokens at the places `kept`, and the state of all of these tokens.

        Args:
            input_ids: The tokens, padded on either side.
            attention_mask: 1 for tokens, 0 for padding.
            past: The state of the tokens before, of which there may be none.
            past_mask: The same of them.
            kept: Places in `input_ids`.
        """
        seen = torch.cat([past_mask, attention_mask], dim=1)
        positions = (seen.cumsum(1) - 1).clamp(min=0)[:, past_mask.shape[1] :]
        # Layers that look back a window only hold all of it too: their masks are windows.
        cache = DynamicCache([(keys, values) for keys, values in past])
        states = self.network.base_model(
            input_ids=input_ids,
            attention_mask=seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        chosen = states.gather(1, kept[:, :, None].expand(-1, -1, states.shape[-1]))
        return self._logits(chosen), state_of(cache, past)

    def _logits(self, states: Tensor) -> Tensor:
        logits: Tensor = self.network.lm_head(states)
        bound = getattr(self.network.config, "final_logit_softcapping", None)
        return logits if bound is None else bound * torch.tanh(logits / bound)


class Encoder(nn.Module):
    """T5's encoder, and what its decoder's layers make of its output once and for all.

    Attributes:
        network: `T5ForConditionalGeneration` or its kin.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, input_ids: Int[Tensor, "batch source"], attention_mask: Int[Tensor, "batch source"]
    ) -> Float[Tensor, "layers 2 batch heads source dim"]:
        """The keys and values that the decoder's layers read of a text."""
        states = self.network.encoder(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state
        batch, source, _ = states.shape
        layers = []
        for block in self.network.decoder.block:
            attention = block.layer[1].EncDecAttention
            shape = (batch, source, attention.n_heads, attention.key_value_proj_dim)
            parts = (
                part(states).view(shape).transpose(1, 2) for part in (attention.k, attention.v)
            )
            layers.append(torch.stack(list(parts)))
        return torch.stack(layers)


class CachedAnswer(nn.Module):
    """T5's decoder over what `Encoder` made, with its state outside.

    Attributes:
        network: `T5ForConditionalGeneration` or its kin.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        past: Float[Tensor, "layers 2 batch heads before dim"],
        memory: Float[Tensor, "layers 2 batch heads source dim"],
        memory_mask: Int[Tensor, "batch source"],
    ) -> tuple[
        Float[Tensor, "batch length vocabulary"], Float[Tensor, "layers 2 batch heads length dim"]
    ]:
        """The logits after each token, and the state of these tokens.

        Args:
            input_ids: The answer's tokens; what pads them stands on the right.
            past: The state of those before, of which there may be none.
            memory: What the encoder made.
            memory_mask: 1 for its tokens, 0 for padding.
        """
        cache = EncoderDecoderCache(
            DynamicCache([(keys, values) for keys, values in past]),
            DynamicCache([(keys, values) for keys, values in memory]),
        )
        # The layers' keys and values are there: the encoder's states are read for their shape.
        states = torch.zeros(*memory_mask.shape, self.network.config.d_model, device=memory.device)
        made = self.network(
            encoder_outputs=(states,),
            attention_mask=memory_mask,
            decoder_input_ids=input_ids,
            past_key_values=cache,
            use_cache=True,
        )
        return made.logits, state_of(cache.self_attention_cache, past)


def state_of(
    cache: Any, past: Float[Tensor, "layers 2 batch heads before dim"]
) -> Float[Tensor, "layers 2 batch heads length dim"]:
    """The keys and values of the tokens that a run added to the past ones it was given."""
    before = past.shape[4]
    return torch.stack(
        [torch.stack([one.keys[:, :, before:], one.values[:, :, before:]]) for one in cache.layers]
    )

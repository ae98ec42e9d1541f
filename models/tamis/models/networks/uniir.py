"""UniIR's two feature fusions: a T5 encoder over CLIP's states, and BLIP's grounded text encoder.

Neither masks a missing part: the empty text and the all-zero picture are read like any other.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import BlipTextConfig, BlipTextModel, T5Config
from transformers.models.t5.modeling_t5 import T5Stack


class T5Fusion(nn.Module):
    """The mean state of a T5 encoder over a text's and a picture's states, text first."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.t5_layers = T5Stack(config)
        del self.t5_layers.embed_tokens  # it reads states, and never ids

    def forward(
        self, text: Float[Tensor, "batch n dim"], image: Float[Tensor, "batch m dim"]
    ) -> Float[Tensor, "batch dim"]:
        states = torch.cat([text, image], dim=1)
        return self.t5_layers(inputs_embeds=states).last_hidden_state.mean(dim=1)


class BlipText(nn.Module):
    """BLIP's text encoder reading words alone: the first token's state, projected."""

    def __init__(self, config: BlipTextConfig, dim: int) -> None:
        super().__init__()
        self.text_encoder = BlipTextModel(config, add_pooling_layer=False)
        self.text_proj = nn.Linear(config.hidden_size, dim)

    def forward(
        self, input_ids: Int[Tensor, "batch n"], attention_mask: Int[Tensor, "batch n"]
    ) -> Float[Tensor, "batch dim"]:
        made = self.text_encoder(input_ids=input_ids, attention_mask=attention_mask)
        return self.text_proj(made.last_hidden_state[:, 0])


class BlipGrounded(nn.Module):
    """BLIP's text encoder with cross-attention to a picture's states: its pooled first token."""

    def __init__(self, config: BlipTextConfig) -> None:
        super().__init__()
        self.text_encoder = BlipTextModel(config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch n"],
        attention_mask: Int[Tensor, "batch n"],
        image: Float[Tensor, "batch m width"],
    ) -> Float[Tensor, "batch dim"]:
        made = self.text_encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=image,
        )
        return made.pooler_output

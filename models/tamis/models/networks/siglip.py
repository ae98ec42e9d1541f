"""SigLIP's towers as transformers has them, cut into the graphs that are served."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import SiglipModel


class SiglipText(nn.Module):
    """Token ids, padded to the length of training, to a text's embedding; nothing is masked."""

    def __init__(self, model: SiglipModel) -> None:
        super().__init__()
        self.text_model = model.text_model

    def forward(self, input_ids: Int[Tensor, "batch n"]) -> Float[Tensor, "batch dim"]:
        return self.text_model(input_ids=input_ids).pooler_output


class SiglipImage(nn.Module):
    """Pixels to a picture's embedding."""

    def __init__(self, model: SiglipModel) -> None:
        super().__init__()
        self.vision_model = model.vision_model

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch dim"]:
        return self.vision_model(pixel_values=pixels).pooler_output


class SiglipSeen(nn.Module):
    """As `SiglipImage`, with the patches' states before the last layer and the attention they get.

    The attention is that of the pooling, which asks with a learned token, on average over heads.
    """

    def __init__(self, model: SiglipModel) -> None:
        super().__init__()
        self.vision_model = model.vision_model

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        vision = self.vision_model
        states = vision.embeddings(pixels)
        *before, last = vision.encoder.layers
        for layer in before:
            states = layer(states, attention_mask=None)
        final = vision.post_layernorm(last(states, attention_mask=None))
        return vision.head(final), states, self._attention(final)

    def _attention(self, states: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n"]:
        head = self.vision_model.head
        attention, width = head.attention, states.shape[-1]
        query, key, _ = attention.in_proj_weight.split(width)
        query_bias, key_bias, _ = attention.in_proj_bias.split(width)
        asked = F.linear(head.probe[0, 0], query, query_bias).view(attention.num_heads, -1)
        keys = F.linear(states, key, key_bias).view(*states.shape[:2], attention.num_heads, -1)
        logits = torch.einsum("hd,bnhd->bhn", asked, keys) * asked.shape[-1] ** -0.5
        return logits.softmax(-1).mean(1)

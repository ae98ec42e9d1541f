"""UniIR's two feature fusions, a T5 encoder over CLIP's states and BLIP's grounded text encoder.

Neither masks a missing part: the empty text and the all-zero picture are read like any other.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import BlipTextConfig, BlipTextModel, T5Config
from transformers.models.t5.modeling_t5 import T5Stack

from tamis.models.networks.clip import TextTower, VisionShape, VisionTower


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


class ClipJoint(nn.Module):
    """Token ids, through CLIP's text tower, and a picture's states to one vector."""

    def __init__(self, text: TextTower, fusion: T5Fusion) -> None:
        super().__init__()
        self.text = text
        self.fusion = fusion

    def forward(
        self, input_ids: Int[Tensor, "batch n"], image: Float[Tensor, "batch m dim"]
    ) -> Float[Tensor, "batch dim"]:
        return self.fusion(self.text(input_ids), image)


class Blip(nn.Module):
    """BLIP's encoders under the checkpoint's names.

    With a `dim`, each has a projection into a space of that many dimensions; without, the text
    encoder has a pooler.
    """

    def __init__(self, vision: VisionShape, text: BlipTextConfig, dim: int) -> None:
        super().__init__()
        self.visual_encoder = VisionTower(vision)
        self.text_encoder = BlipTextModel(text, add_pooling_layer=not dim)
        if dim:
            self.vision_proj = nn.Linear(vision.width, dim)
            self.text_proj = nn.Linear(text.hidden_size, dim)


class BlipStates(nn.Module):
    """Pixels to the normed states of the class token and the patches."""

    def __init__(self, blip: Blip) -> None:
        super().__init__()
        self.tower = blip.visual_encoder

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch n width"]:
        return self.tower.projected(self.tower(pixels))


class BlipImage(nn.Module):
    """Pixels to a picture's vector."""

    def __init__(self, blip: Blip) -> None:
        super().__init__()
        self.tower = blip.visual_encoder
        self.projection = blip.vision_proj

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch dim"]:
        return self.projection(self.tower.projected(self.tower(pixels)[:, 0]))


class BlipText(nn.Module):
    """The text encoder reading words alone: the first token's state, projected."""

    def __init__(self, blip: Blip) -> None:
        super().__init__()
        self.text_encoder = blip.text_encoder
        self.projection = blip.text_proj

    def forward(
        self, input_ids: Int[Tensor, "batch n"], attention_mask: Int[Tensor, "batch n"]
    ) -> Float[Tensor, "batch dim"]:
        made = self.text_encoder(input_ids=input_ids, attention_mask=attention_mask)
        return self.projection(made.last_hidden_state[:, 0])


class BlipJoint(nn.Module):
    """The text encoder with cross-attention to a picture's states: its pooled first token."""

    def __init__(self, blip: Blip) -> None:
        super().__init__()
        self.text_encoder = blip.text_encoder

    def forward(
        self,
        input_ids: Int[Tensor, "batch n"],
        attention_mask: Int[Tensor, "batch n"],
        image: Float[Tensor, "batch m width"],
    ) -> Float[Tensor, "batch dim"]:
        made = self.text_encoder(
            input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=image
        )
        return made.pooler_output

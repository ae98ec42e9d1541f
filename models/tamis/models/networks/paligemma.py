"""PaliGemma's vision tower, a SigLIP with a projection, and the sizes of its Gemma."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from tamis.models.networks.decoder import DecoderShape


class Vision(nn.Module):
    """Pictures to visual tokens in the language tower's width."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        said = {"vision_use_head": False, **config["vision_config"], "attn_implementation": "sdpa"}
        shape = SiglipVisionConfig.from_dict(said)
        tower = SiglipVisionModel(shape)
        # The library wraps the tower once more in some of its versions; the names stay the same.
        self.tower = getattr(tower, "vision_model", tower)
        out = config["text_config"]["hidden_size"]
        self.projector = nn.Linear(shape.hidden_size, out)

    def forward(
        self, pixels: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images tokens width"]:
        tokens: Tensor = self.projector(self.tower(pixels).last_hidden_state)
        return tokens


def shape_of(config: Mapping[str, Any]) -> DecoderShape:
    """The sizes of a Gemma in its `config.json`; what it leaves out is Gemma 2B's.

    Visual tokens are not scaled as words are: the authors divide them by the root of the width,
    and then multiply all alike.

    Raises:
        KeyError: A size is missing.
        ValueError: It is not the first Gemma.
    """
    if (kind := config.get("model_type", "gemma")) != "gemma":
        raise ValueError(f"text_config.model_type: {kind!r}, not 'gemma'")
    rope = config.get("rope_parameters") or {}
    width, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim", 256)
    return DecoderShape(
        vocabulary=config["vocab_size"],
        width=width,
        inner=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        key_heads=config.get("num_key_value_heads", heads),
        head_dim=head_dim,
        causal=False,
        biased=False,
        activation="gelu_pytorch_tanh",
        epsilon=config.get("rms_norm_eps", 1e-6),
        norm_offset=1.0,
        embedding_scale=width**0.5,
        theta=rope.get("rope_theta", config.get("rope_theta", 10000.0)),
        sections=(head_dim // 2,),
    )

"""FLMR and PreFLMR: BERT over words and CLIP over a picture, mapped into one space of rows.

A query is its words' rows, a prefix of rows made of the picture's [CLS], and, in PreFLMR, a row a
patch that has looked at the words. Rows are of unit length; which of them count is decided by the
token ids, outside.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import CLIPVisionConfig, CLIPVisionModel

from tamis.models.networks.bert import backbone
from tamis.models.networks.mapping import MappingNetwork

BERT_BASE: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "layer_norm_eps": 1e-12,
}


# What a `config.json` leaves out where it is as usual.
USUAL: Mapping[str, Any] = {
    "dim": 128,
    "mapping_network_prefix_length": 32,
    "transformer_mapping_cross_attention_length": 32,
}
USUAL_TEXT: Mapping[str, Any] = {
    "hidden_size": 768,
    "max_position_embeddings": 512,
    "query_maxlen": 32,
    "vocab_size": 30522,
}
USUAL_VISION: Mapping[str, Any] = {"hidden_size": 768, "image_size": 224, "patch_size": 32}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """FLMR's `config.json` with what it leaves out."""
    parts = {
        "text_config": {**USUAL_TEXT, **config.get("text_config", {})},
        "vision_config": {**USUAL_VISION, **config.get("vision_config", {})},
    }
    return {**USUAL, **config, **parts}


class Flmr(nn.Module):
    """All that a checkpoint holds, under its own names.

    Args:
        config: FLMR's `config.json`, completed.
        mapping: The BERT configuration of PreFLMR's mapping layers, which the authors take from
            bert-base-uncased.
    """

    def __init__(self, config: Mapping[str, Any], mapping: Mapping[str, Any] = BERT_BASE) -> None:
        super().__init__()
        self.config = config
        dim, words = config["dim"], config["text_config"]["hidden_size"]
        self.query_text_encoder = Words(config["text_config"])
        self.query_text_encoder_linear = nn.Linear(words, dim, bias=False)
        if separate(config, "text"):
            self.context_text_encoder = Words(config["text_config"])
            self.context_text_encoder_linear = nn.Linear(words, dim, bias=False)
        self.query_vision_encoder = Pictures(config["vision_config"])
        self.query_vision_projection = Prefix(config)
        if separate(config, "vision"):
            self.context_vision_encoder = Pictures(config["vision_config"])
            self.context_vision_projection = Prefix(config)
        if config.get("use_transformer_mapping_network"):
            width, pictures = mapping["hidden_size"], config["vision_config"]["hidden_size"]
            count = config.get("transformer_mapping_num_hidden_layers") or 1
            self.transformer_mapping_input_linear = nn.Linear(pictures, width)
            self.transformer_mapping_network = MappingNetwork(mapping, count)
            self.transformer_mapping_output_linear = nn.Linear(width, dim)

    def side(self, name: str, kind: str) -> Any:
        """A part of the ``query`` or the ``context`` side, which may be shared."""
        found = getattr(self, f"{name}_{kind}", None)
        return getattr(self, f"query_{kind}") if found is None else found


class Image(nn.Module):
    """A picture to what either side makes rows of; patches only where they are asked for."""

    def __init__(self, model: Flmr, side: str, *, patches: bool = True) -> None:
        super().__init__()
        self.tower = model.side(side, "vision_encoder")
        self.patches = patches

    def forward(
        self, pixels: Float[Tensor, "images 3 height width"]
    ) -> tuple[Float[Tensor, "images ..."], ...]:
        """[CLS] after the last layer, and the patches after the last but one."""
        seen: tuple[Tensor, Tensor] = self.tower(pixels)
        return seen if self.patches else seen[:1]


class Side(nn.Module):
    """Words and a picture to rows, for the ``query`` or the ``context``."""

    def __init__(self, model: Flmr, side: str) -> None:
        super().__init__()
        config = model.config
        self.text = model.side(side, "text_encoder")
        self.linear = model.side(side, "text_encoder_linear")
        self.prefix = model.side(side, "vision_projection")
        self.mapped = side == "query" and bool(config.get("use_transformer_mapping_network"))
        if self.mapped:
            self.reads = config["transformer_mapping_cross_attention_length"]
            self.into = model.transformer_mapping_input_linear
            self.mapping = model.transformer_mapping_network
            self.out = model.transformer_mapping_output_linear

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Int[Tensor, "batch length"],
        features: Float[Tensor, "batch regions width"],
        patches: Float[Tensor, "batch patches width"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch rows dim"]]:
        """The words' rows and the picture's.

        Args:
            input_ids: The words; padding of a query is [MASK], which has rows of its own.
            attention_mask: 1 for what is attended to.
            features: [CLS] of the whole picture and of any regions cut out of it.
            patches: Of the whole picture; for mapping layers only.
        """
        states = self.text(input_ids, attention_mask)
        rows = [self.prefix(features).flatten(1, 2)]
        if self.mapped and patches is not None:
            mapped = self.mapping(self.into(patches), states[:, : self.reads])
            rows.append(self.out(mapped))
        return F.normalize(self.linear(states), dim=-1), F.normalize(torch.cat(rows, 1), dim=-1)


class Words(nn.Module):
    """BERT, whose padding is not attended to."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.bert_model = backbone({**config, "model_type": "bert"})

    def forward(
        self, input_ids: Int[Tensor, "batch length"], attention_mask: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        seen = attention_mask[:, None, None, :].bool()
        bias = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
        # Whole, because the library would look into a plain mask to see whether it needs one.
        bias = bias.expand(-1, 1, input_ids.shape[1], -1)
        states: Tensor = self.bert_model(input_ids, attention_mask=bias).last_hidden_state
        return states


class Pictures(nn.Module):
    """CLIP's vision tower without its last norm."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        said = CLIPVisionConfig.from_dict({**config, "attn_implementation": "sdpa"})
        tower = CLIPVisionModel(said)
        # The library wraps the tower once more in some of its versions; the names stay the same.
        self.vision_model = getattr(tower, "vision_model", tower)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.vision_model(pixels, output_hidden_states=True)
        return seen.last_hidden_state[:, 0], seen.hidden_states[-2][:, 1:]


class Prefix(nn.Module):
    """One vector to a fixed number of rows."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.rows, dim = config["mapping_network_prefix_length"], config["dim"]
        inner = self.rows * dim // 2
        self.model = nn.Sequential(
            nn.Linear(config["vision_config"]["hidden_size"], inner),
            nn.Tanh(),
            nn.Linear(inner, self.rows * dim),
        )

    def forward(
        self, features: Float[Tensor, "batch regions width"]
    ) -> Float[Tensor, "batch regions rows dim"]:
        rows: Tensor = self.model(features).unflatten(-1, (self.rows, -1))
        return rows


def separate(config: Mapping[str, Any], kind: str) -> bool:
    """Whether documents have an encoder of their own for ``text`` or ``vision``."""
    return bool(config.get(f"separate_query_and_context_{kind}_encoder"))

"""BERT, RoBERTa and XLM-R as text towers: token states, and how they become one vector."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import (
    BertConfig,
    BertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from tamis.models.errors import ModelError

States = Float[Tensor, "texts length width"]
Mask = Int[Tensor, "texts length"]
MODELS: dict[str, tuple[Any, Any]] = {
    "bert": (BertConfig, BertModel),
    "roberta": (RobertaConfig, RobertaModel),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaModel),
}
# What checkpoints hold besides the encoder: poolers, buffers, and the heads of pre-training.
IGNORED = ("*pooler.*", "*position_ids", "cls.*", "lm_head.*")
OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}  # of layer norms that came from TensorFlow


def backbone(config: Mapping[str, Any]) -> nn.Module:
    """The encoder that a `config.json` describes, with random weights and without a pooler.

    Raises:
        ModelError: It is none of `MODELS`, or its positions are not absolute.
    """
    kind = config.get("model_type")
    if kind not in MODELS:
        raise ModelError(f"config.json: model_type: {kind!r} is not one of: {', '.join(MODELS)}")
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ModelError(f"config.json: position_embedding_type: {positions!r}, not 'absolute'")
    shape, model = MODELS[kind]
    described = shape.from_dict({**config, "attn_implementation": "eager", "dtype": "float32"})
    made: nn.Module = model(described, add_pooling_layer=False)
    return made.eval()


def key_of(key: str) -> str:
    """A checkpoint's key as `backbone` calls it: without a prefix of the model it was part of."""
    for prefix in ("bert.", "roberta."):
        key = key.removeprefix(prefix)
    for old, new in OLD_NAMES.items():
        if key.endswith(old):
            key = key.removesuffix(old) + new
    return key


def max_positions(config: Mapping[str, Any]) -> int:
    """How many tokens the encoder has positions for; RoBERTa's begin after that of the padding."""
    positions: int = config["max_position_embeddings"]
    if config["model_type"] == "bert":
        return positions
    return positions - int(config.get("pad_token_id", 1)) - 1


def cls(states: States, mask: Mask) -> Float[Tensor, "texts width"]:
    """The state of the first token."""
    return states[:, 0]


def greatest(states: States, mask: Mask) -> Float[Tensor, "texts width"]:
    """The largest value of each dimension over real tokens."""
    return states.masked_fill(mask[..., None] == 0, float("-inf")).amax(dim=1)


def mean(states: States, mask: Mask) -> Float[Tensor, "texts width"]:
    """The mean over real tokens."""
    return _total(states, mask) / mask.sum(dim=1, keepdim=True).to(states.dtype)


def mean_by_root(states: States, mask: Mask) -> Float[Tensor, "texts width"]:
    """The sum over real tokens, divided by the root of their number."""
    return _total(states, mask) / mask.sum(dim=1, keepdim=True).to(states.dtype).sqrt()


def mean_by_place(states: States, mask: Mask) -> Float[Tensor, "texts width"]:
    """The mean over real tokens, the first weighing 1, the second 2, and so on."""
    weights = mask * mask.cumsum(dim=1)
    return _total(states, weights) / weights.sum(dim=1, keepdim=True).to(states.dtype)


def last(states: States, mask: Mask) -> Float[Tensor, "texts width"]:
    """The state of the last real token; padding is on the right."""
    place = mask.sum(dim=1) - 1
    return states.gather(1, place[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


def _total(states: States, weights: Mask) -> Float[Tensor, "texts width"]:
    return (states * weights[..., None].to(states.dtype)).sum(dim=1)


# Under sentence-transformers' names, in the order in which it joins several.
POOLINGS: dict[str, Callable[[States, Mask], Float[Tensor, "texts width"]]] = {
    "cls": cls,
    "max": greatest,
    "mean": mean,
    "mean_sqrt_len_tokens": mean_by_root,
    "weightedmean": mean_by_place,
    "lasttoken": last,
}


class Normalise(nn.Module):
    """Vectors at unit length."""

    def forward(self, x: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        return F.normalize(x, dim=-1)


class Embedding(nn.Module):
    """A text's embedding.

    Attributes:
        backbone: As the function of that name makes it.
        poolings: Keys of `POOLINGS`; the results of several are joined.
        after: What the pooled vector goes through, such as a linear map or `Normalise`.
    """

    def __init__(
        self, backbone: nn.Module, poolings: Sequence[str], after: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.poolings = tuple(poolings)
        self.after = nn.Sequential(*after)

    def forward(self, input_ids: Mask, attention_mask: Mask) -> Any:
        return self.pooled(token_states(self.backbone, input_ids, attention_mask), attention_mask)

    def pooled(self, states: States, mask: Mask) -> Float[Tensor, "texts dim"]:
        """The embedding of texts whose token states are known."""
        joined = torch.cat([POOLINGS[name](states, mask) for name in self.poolings], dim=-1)
        made: Tensor = self.after(joined)
        return made


class Sentence(Embedding):
    """A text's embedding and its tokens' states."""

    def forward(self, input_ids: Mask, attention_mask: Mask) -> Any:
        states = token_states(self.backbone, input_ids, attention_mask)
        return self.pooled(states, attention_mask), states


def token_states(backbone: nn.Module, input_ids: Mask, attention_mask: Mask) -> States:
    """The last hidden states; every token is of the first type."""
    made: States = backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    return made

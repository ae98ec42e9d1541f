"""ColBERT: each token's state in a small space, at unit length."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.networks.bert import Mask, backbone, token_states


class Colbert(nn.Module):
    """BERT and one linear map, under the authors' parameter names."""

    def __init__(self, config: Mapping[str, Any], dim: int) -> None:
        super().__init__()
        self.bert = backbone(config)
        self.linear = nn.Linear(config["hidden_size"], dim, bias=False)

    def forward(self, input_ids: Mask, attention_mask: Mask) -> Float[Tensor, "texts length dim"]:
        states = token_states(self.bert, input_ids, attention_mask)
        return F.normalize(self.linear(states), dim=-1)

"""DeepCT: a number a token, how much it says of its text."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from tamis.models.networks.bert import Mask, backbone, token_states


class DeepCt(nn.Module):
    """BERT and one linear map, under the names of transformers' `BertForTokenClassification`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.bert = backbone(config)
        self.classifier = nn.Linear(config["hidden_size"], 1)

    def forward(self, input_ids: Mask, attention_mask: Mask) -> Float[Tensor, "texts length"]:
        states = token_states(self.bert, input_ids, attention_mask)
        weights: Tensor = self.classifier(states)
        return weights[..., 0]

"""A decoder with a class head on the last token, such as RankLLaMA, that transformers runs."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from transformers import AutoModelForSequenceClassification

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.hf.model import HfNetwork


class Classifier(HfNetwork):
    """A `SequenceClassifier` over `AutoModelForSequenceClassification`.

    The last token is the last one given: unlike transformers' own forward pass, it is not looked
    for by the padding's id, which a text may have.

    Raises:
        ModelError: The checkpoint cannot be opened, or its network has no such head.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        network = checkpoint.network(AutoModelForSequenceClassification)
        if not hasattr(network, "score"):
            raise ModelError(f"{checkpoint.model}: is no decoder with a class head")
        super().__init__(checkpoint, network, checkpoint.tokenizer())

    @property
    def start_id(self) -> int:
        start = self._reading.tokenizer.bos_token_id
        if start is None:
            raise ModelError(f"{self._checkpoint.model}: has no token that begins a text")
        return int(start)

    def logits(self, sequences: Sequence[Sequence[int]]) -> Float[np.ndarray, "sequences labels"]:
        if not all(sequences):
            raise InputError("a sequence is empty")
        logits = np.empty((len(sequences), self._network.config.num_labels), dtype=np.float32)
        for group in self._batches([len(own) for own in sequences]):
            ids, mask = self._padded(sequences[i] for i in group)
            with self._run(mask):
                states = self._network.base_model(
                    input_ids=ids, attention_mask=mask, use_cache=False
                ).last_hidden_state
                last = states[range(len(group)), mask.sum(dim=1) - 1]
                logits[group] = self._network.score(last).float().cpu().numpy()
        return logits

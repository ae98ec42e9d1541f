"""A T5 that reads several texts apart and names them in an order, that transformers runs."""

from collections.abc import Sequence

import torch
from transformers import AutoModelForSeq2SeqLM

from tamis.models.errors import ModelError
from tamis.models.networks.fusion import order_named
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.hf.model import HfNetwork


class HfFusionInDecoder(HfNetwork):
    """A `FusionInDecoder` over `AutoModelForSeq2SeqLM`.

    Raises:
        ModelError: The checkpoint cannot be opened.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        network = checkpoint.network(AutoModelForSeq2SeqLM)
        super().__init__(checkpoint, network, checkpoint.tokenizer())

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        return self._reading.texts.cut(texts, tokens)

    def orders(self, groups: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in groups]
        for size in {len(group) for group in groups if group}:
            alike = [i for i, group in enumerate(groups) if len(group) == size]
            read = [[self._reading.texts.whole(text) for text in groups[i]] for i in alike]
            told = torch.tensor([self._single(name) for name in names[:size]])
            lengths = [size * max(map(len, texts)) for texts in read]
            for batch in self._batches(lengths):
                ids, mask = self._padded(row for i in batch for row in read[i])
                shape = (len(batch), size, ids.shape[1])
                with self._run(mask):
                    orders = order_named(
                        self._network, ids.reshape(shape), mask.reshape(shape), told.to(ids.device)
                    )
                for i, order in zip(batch, orders.tolist(), strict=True):
                    found[alike[i]] = order
        return found

    def _single(self, name: str) -> int:
        ids = self.token_ids(name)
        if len(ids) != 1:
            raise ModelError(f"{name!r} is {len(ids)} tokens of the model's; it must be one")
        return ids[0]

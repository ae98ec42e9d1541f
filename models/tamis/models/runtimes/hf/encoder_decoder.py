"""An encoder-decoder that transformers runs: T5 and its kin.

The encoder reads prefix and text as one, with the tokens that its tokenizer puts around them; the
decoder begins with its start token and the answer so far.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from tamis.models.errors import InputError
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.hf.model import HfModel
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.rows import Asked, sides
from tamis.models.runtimes.texts import up_to


class EncoderDecoder(HfModel):
    """A `LanguageModel` over `AutoModelForSeq2SeqLM`.

    Raises:
        ModelError: The checkpoint cannot be opened.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        network = checkpoint.network(AutoModelForSeq2SeqLM)
        super().__init__(checkpoint, network, checkpoint.tokenizer())

    @property
    def reads_images(self) -> bool:
        return False

    @property
    def max_tokens(self) -> int:
        # T5's positions are relative and have no limit; 512 is what its kin was trained on.
        own = getattr(self._network.config, "max_position_embeddings", 512)
        return self._checkpoint.max_tokens or own

    def span_log_likelihoods(
        self, prompts: Sequence[Prompt], spans: Sequence[str]
    ) -> list[Float[np.ndarray, " _"]]:
        told = [self._reading.texts.ids(span) for span in spans]
        asked = [self._asked(prompt) for prompt in prompts]
        begun = [len(answer) for _, answer in asked]
        # The last token is never read, only told of.
        whole = [Asked(e, [*d, *ids[:-1]]) for (e, d), ids in zip(asked, told, strict=True)]

        def likelihoods(i: int, logits: Tensor) -> np.ndarray:
            ids = torch.tensor(told[i], dtype=torch.long, device=logits.device)
            places = logits[begun[i] - 1 :][: len(ids)].log_softmax(-1)
            return places.gather(1, ids[:, None])[:, 0].cpu().numpy()

        return self._each(whole, likelihoods)

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        asked = [self._asked(prompt) for prompt in prompts]
        answers = [""] * len(asked)
        rules = self._greedy(max_tokens, decoder_start_token_id=self._start)
        for group in self._batches([len(ids) for ids, _ in asked]):
            ids, mask = self._padded(asked[i][0] for i in group)
            begun = [asked[i][1] for i in group]
            if len({len(answer) for answer in begun}) > 1:
                raise InputError("answers that go on together must begin alike")
            with self._run(mask):
                made = self._network.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    decoder_input_ids=torch.tensor(begun, device=ids.device),
                    generation_config=rules,
                )
            for i, own in zip(group, made[:, len(begun[0]) :].tolist(), strict=True):
                answers[i] = up_to(self._reading.texts.text(own), stop)
        return answers

    @property
    def _start(self) -> int:
        start: int = self._network.config.decoder_start_token_id
        return start

    def _asked(self, prompt: Prompt) -> Asked:
        return sides(prompt, self._reading.texts, start=self._start, max_tokens=self.max_tokens)

    def _last(
        self, prompts: Sequence[Prompt], pick: Callable[[Tensor], Tensor]
    ) -> list[np.ndarray]:
        asked = [self._asked(prompt) for prompt in prompts]
        return self._each(asked, lambda _, logits: pick(logits[-1]).cpu().numpy())

    def _each(
        self, asked: Sequence[Asked], pick: Callable[[int, Tensor], np.ndarray]
    ) -> list[np.ndarray]:
        """What `pick` takes of the logits at each of a decoder's own tokens."""
        found: dict[int, np.ndarray] = {}
        for group in self._batches([len(ids) for ids, _ in asked]):
            ids, mask = self._padded(asked[i][0] for i in group)
            begun, begun_mask = self._padded(asked[i][1] for i in group)
            with self._run(mask):
                made = self._network(
                    input_ids=ids,
                    attention_mask=mask,
                    decoder_input_ids=begun,
                    decoder_attention_mask=begun_mask,
                ).logits.float()
            for i, logits in zip(group, made, strict=True):
                found[i] = pick(i, logits[: len(asked[i][1])])
        return [found[i] for i in range(len(asked))]

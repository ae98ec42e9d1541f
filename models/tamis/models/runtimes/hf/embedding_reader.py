"""A decoder that reads passages as one vector each, such as PE-Rank, that transformers runs."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from tamis.models.errors import InputError, ModelError
from tamis.models.networks.pe_rank import Projector, order_named
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import DTYPES, Checkpoint
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.ordering import PLACEHOLDER

WEIGHTS = ("projector.0.weight", "projector.0.bias", "projector.2.weight", "projector.2.bias")


class HfEmbeddingReader(Decoder):
    """An `EmbeddingReader` over `AutoModelForCausalLM` and a projector in the same folder.

    Raises:
        ModelError: The checkpoint cannot be opened, or has no projector.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        found = _projector(Path(checkpoint.model))
        width, dim = found[WEIGHTS[0]].shape
        self._projector = Projector(dim, width)
        self._projector.layers.load_state_dict(
            {name.removeprefix("projector."): value for name, value in found.items()}
        )
        self._projector.to(device=checkpoint.where, dtype=DTYPES[checkpoint.dtype]).eval()

    @property
    def dim(self) -> int:
        return self._projector.dim

    def order(self, prompt: Prompt, embeddings: Float[np.ndarray, "passages dim"]) -> list[int]:
        parts = self._parts(prompt)
        if len(parts) != len(embeddings) + 1:
            raise InputError(
                f"{len(parts) - 1} places in the prompt for {len(embeddings)} passages"
            )
        length = sum(map(len, parts)) + 2 * len(embeddings)
        if length > self.max_tokens:
            raise InputError(f"{length} tokens and passages; the model reads {self.max_tokens}")
        with self._run(torch.ones(1, length)):
            own = torch.from_numpy(np.ascontiguousarray(embeddings, dtype=np.float32))
            passages = self._projector(own.to(self._network.device, self._network.dtype))
            return order_named(self._network, self._inputs_of(parts, passages), passages)

    def _parts(self, prompt: Prompt) -> list[list[int]]:
        """The tokens between the placeholders."""
        texts = self._reading.texts
        if prompt.messages:
            pieces = self._rendered(prompt).split(PLACEHOLDER)
            parts = [texts.rendered(piece)[len(texts.start) :] for piece in pieces]
        else:
            parts = [texts.ids(piece) for piece in (prompt.prefix + prompt.text).split(PLACEHOLDER)]
        parts[0] = [*texts.start, *parts[0]]
        parts[-1] = [*parts[-1], *texts.ids(prompt.answer)]
        return parts

    def _inputs_of(
        self, parts: list[list[int]], passages: Float[Tensor, "n width"]
    ) -> Float[Tensor, "tokens width"]:
        """The words' embeddings, and the passages' between them."""
        table = self._network.get_input_embeddings()
        words = [table(torch.tensor(p, dtype=torch.long, device=passages.device)) for p in parts]
        between = [row for word, passage in zip(words, passages, strict=False)
                   for row in (word, passage[None])]  # fmt: skip
        return torch.cat([*between, words[-1]])


def _projector(folder: Path) -> dict[str, Tensor]:
    """The projector's weights, wherever in the folder they are.

    Raises:
        ModelError: Some are not there.
    """
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, value in load_file(file).items():
            found |= {own: value for own in WEIGHTS if name.endswith(own)}
    if missing := [name for name in WEIGHTS if name not in found]:
        raise ModelError(f"{folder}: has no {missing[0]} in its safetensors files")
    return found

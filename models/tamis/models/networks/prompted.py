"""What reads a prompt with visual tokens in it, and the two ways of making embeddings of that."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tamis.models.networks.decoder import Decoder


class Prompted(nn.Module):
    """A language tower over words, some of whose places are taken by visual tokens.

    Args:
        visual: Makes visual tokens in the language tower's width. It is held here so that one
            module has all of a checkpoint's names, and runs apart.
        language_model: Reads the prompt.
    """

    def __init__(self, visual: nn.Module, language_model: Decoder) -> None:
        super().__init__()
        self.visual = visual
        self.language_model = language_model

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Int[Tensor, "batch length"],
        positions: Int[Tensor, "axes batch length"],
        visual: Float[Tensor, "visual width"],
        visual_places: Int[Tensor, "batch length"],
    ) -> Float[Tensor, "batch ..."]:
        """What becomes of the prompts' states.

        Args:
            input_ids: The prompts; what stands at a visual token's place is not read.
            attention_mask: 1 for tokens, 0 for padding, on either side.
            positions: Along each axis.
            visual: The visual tokens of the whole batch; at least one, that none may refer to.
            visual_places: Which of them stands here, or -1 for a word.
        """
        seen = visual_places >= 0
        words = self.language_model.words(input_ids.masked_fill(seen, 0))
        pictures = visual[visual_places.clamp(min=0)]
        embedded = torch.where(seen[..., None], pictures, words)
        return self.made(self.language_model(embedded, attention_mask, positions), attention_mask)

    def made(
        self,
        states: Float[Tensor, "batch length width"],
        attention_mask: Int[Tensor, "batch length"],
    ) -> Float[Tensor, "batch ..."]:
        """What becomes of the tokens' states."""
        raise NotImplementedError


class MultiVector(Prompted):
    """One unit vector a token, as ColPali makes them."""

    def __init__(self, visual: nn.Module, language_model: Decoder, dim: int) -> None:
        super().__init__(visual, language_model)
        self.custom_text_proj = nn.Linear(language_model.shape.width, dim)

    def made(self, states: Tensor, attention_mask: Tensor) -> Float[Tensor, "batch length dim"]:
        """The vectors; those of padding are zero."""
        return unit(self.custom_text_proj(states)) * attention_mask[..., None]


class LastToken(Prompted):
    """The state of one token, which has read all those before it, as a unit vector."""

    def made(self, states: Tensor, attention_mask: Tensor) -> Float[Tensor, "batch width"]:
        """The embeddings; one that is cut short must be scaled once more."""
        order = torch.arange(states.shape[1], device=states.device)
        last = (order * attention_mask).argmax(dim=1)
        return unit(states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1))


def unit(vectors: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
    """The vectors scaled to length 1; zero vectors stay zero, where the authors divide by 0."""
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.clamp(min=torch.finfo(torch.float32).tiny)

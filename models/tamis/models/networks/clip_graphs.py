"""What is exported of CLIP's towers: each graph's inputs and outputs."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from tamis.models.networks.clip import TextTower, VisionTower


class ImageGraph(nn.Module):
    """What is exported of a vision tower: the picture's embedding, not normalised."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch dim"]:
        return self.tower.projected(self.tower(pixels)[:, 0])


class SeenGraph(nn.Module):
    """As `ImageGraph`, with the patches' states and the attention that they get."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.tower.seen(pixels)
        return self.tower.projected(seen.last[:, 0]), seen.penultimate, seen.attention


class StatesGraph(nn.Module):
    """Every token's state in the shared space, for a network that mixes them with a text's."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch n dim"]:
        return self.tower.projected(self.tower(pixels))


class TextGraph(nn.Module):
    """What is exported of a text tower: the text's embedding, not normalised."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, input_ids: Int[Tensor, "batch n"]) -> Float[Tensor, "batch dim"]:
        return self.tower.pooled(input_ids)

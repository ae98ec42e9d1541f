"""From the vectors of a video's frames to one: CLIP4Clip's ways, and TeachCLIP's.

Each is under the parameter names of its authors' checkpoints. Frames that are missing come last and
are masked.
"""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from tamis.models.networks.clip import Layers, LayersShape

HIDDEN = -1e6  # what the authors add to the attention to a frame that is missing
TEMPERATURE = 0.1  # of TeachCLIP's weights


class MeanP(nn.Module):
    """The direction of the mean of the frames' directions."""

    def forward(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos dim"]:
        return self.pooled(self.mixed(frames, mask), mask)

    def mixed(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos n dim"]:
        """The frames as they are pooled: each with what it takes from the others."""
        return frames

    def pooled(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos dim"]:
        """The mixed frames as one vector."""
        there = mask.to(frames.dtype)[..., None]
        return F.normalize((F.normalize(frames, dim=-1) * there).sum(dim=1), dim=-1)


class SeqTransf(MeanP):
    """The mean, after a transformer over the frames.

    Args:
        shape: The transformer's sizes.
        positions: How many frames it can read.
    """

    def __init__(self, shape: LayersShape, positions: int) -> None:
        super().__init__()
        self.frame_position_embeddings = nn.Embedding(positions, shape.width)
        self.transformerClip = Layers(shape)

    def mixed(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos n dim"]:
        return frames + self.temporal(frames, mask)

    def temporal(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos n dim"]:
        """What the transformer makes of each frame."""
        hidden = (1 - mask.to(frames.dtype))[:, None, None] * HIDDEN
        states = frames + self.frame_position_embeddings.weight[: frames.shape[1]]
        for layer in self.transformerClip.resblocks:
            states = layer(states, mask=hidden)
        return states


class SeqLSTM(MeanP):
    """The mean, after an LSTM over the frames.

    It reads forwards, so that frames that are missing change nothing of those before them.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lstm_visual = nn.LSTM(dim, dim, batch_first=True)

    def mixed(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos n dim"]:
        return frames + cast(Tensor, self.lstm_visual(frames)[0])


class TeachCLIP(SeqTransf):
    """The frames' directions weighted by what the transformer makes of them.

    Args:
        shape: The transformer's sizes.
        positions: How many frames it can read.
        masked: Whether missing frames get no weight. As published, they do get one.
    """

    def __init__(self, shape: LayersShape, positions: int, *, masked: bool) -> None:
        super().__init__(shape, positions)
        self.masked = masked
        self.frameLinear = nn.Linear(shape.width, shape.width)
        self.frameLinear2 = nn.Linear(shape.width, 1)

    def pooled(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos dim"]:
        weights = self.weights(frames, mask)[..., None]
        return F.normalize((weights * F.normalize(frames, dim=-1)).sum(dim=1), dim=-1)

    def weights(
        self, frames: Float[Tensor, "videos n dim"], mask: Int[Tensor, "videos n"]
    ) -> Float[Tensor, "videos n"]:
        """How much each mixed frame counts; sums to 1."""
        logits = self.frameLinear2(F.relu(self.frameLinear(frames)))[..., 0] / TEMPERATURE
        if self.masked:
            logits = torch.where(mask > 0, logits, -torch.inf)
        return logits.softmax(dim=-1)

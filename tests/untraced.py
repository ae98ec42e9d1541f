"""A draft of a model folder without graphs, for what is tried before a graph is traced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tamis.models.export.draft import Draft


@dataclass(frozen=True)
class Untraced(Draft):
    """Runs each network on the cases that its graph would be compared on, and keeps its weights."""

    def graph(
        self,
        name: str,
        module: nn.Module,
        outputs: Sequence[str],
        cases: Sequence[Mapping[str, Tensor]],
        *,
        dynamic: Mapping[str, Mapping[int, str]],
        drawn: Sequence[Mapping[str, Tensor]] = (),
    ) -> None:
        traced = cases[0]
        assert all(traced[key].shape[axis] >= 2 for key, axes in dynamic.items() for axis in axes)
        for case in (*cases, *drawn):
            with torch.no_grad():
                made = module(**case)
            tensors = (made,) if isinstance(made, Tensor) else made
            assert len(tensors) == len(outputs)
            assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
            assert dynamic.keys() <= case.keys()
        torch.save(module.state_dict(), self.folder / name)

    def weights(self, name: str) -> dict[str, Tensor]:
        """What an exporter put into the network of a graph."""
        found: dict[str, Tensor] = torch.load(self.folder / name, weights_only=True)
        return found

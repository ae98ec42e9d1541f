"""Writes tamis-mini's model folder: the ONNX graph, its int8 twin, and `model.toml`.

python -m tamis.models.train.mini_export --checkpoint mini.pt --out FOLDER
"""

import argparse
import shutil
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from tamis.models.encoders.tamis_mini import FIT, GRAPHS, TamisMiniRecipe
from tamis.models.export.graphs import to_onnx, verify
from tamis.models.export.precision import convert
from tamis.models.networks.mini_vit import MiniVit, MiniVitShape, Seen
from tamis.models.runtimes.folder import NAME, file_sha256, text

TOLERANCE = 1e-4


def export(tower: MiniVit, folder: Path) -> None:
    """Writes the three files; what else is in the folder stays.

    Raises:
        ModelError: The graph's outputs are further than 1e-4 from the network's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph, small = (folder / f"{GRAPHS[precision]}.onnx" for precision in ("float32", "int8"))
    tower = tower.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    cases = [{"pixels": drawn(2)}, {"pixels": drawn(5)}]
    to_onnx(tower, cases[0], Seen._fields, graph, dynamic={"pixels": {0: "batch"}})
    worst = verify(tower, graph, cases, tolerance=TOLERANCE)
    print(f"largest difference of graph and network: {worst:.2e}")
    shutil.copyfile(graph, small)
    print(f"int8: {convert(small, 'int8', [{'pixels': drawn(8).numpy()}])}")
    shape, (resize, fill) = tower.shape, FIT
    recipe = TamisMiniRecipe(
        name="tamis_mini", method="tamis_mini", licence="Apache-2.0",
        files={path.name: file_sha256(path) for path in (graph, small)},
        space="all-MiniLM-L6-v2", dim=shape.dim, width=shape.width,
        image_size=shape.image_size, patch=shape.patch, resize=resize, fill=fill,
    )  # fmt: skip
    (folder / NAME).write_text(text(recipe))


def drawn(count: int, side: int = MiniVitShape().image_size) -> UInt8[Tensor, "n side side 3"]:
    """Random pictures."""
    seeded = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=seeded)


def main() -> None:
    """Exports a checkpoint."""
    parser = argparse.ArgumentParser(description="Export tamis-mini.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    tower = MiniVit(MiniVitShape())
    tower.load_state_dict(torch.load(asked.checkpoint, weights_only=True))
    export(tower, asked.out)


if __name__ == "__main__":
    main()

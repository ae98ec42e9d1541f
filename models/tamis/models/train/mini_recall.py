"""How well tamis-mini finds 400 stamps that it never saw, by their captions and back.

    python -m tamis.models.train.mini_recall

Fetches the stamps and the text encoder where they are not in the cache; needs no torch.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float
from PIL import Image

from tamis.models.runtimes.fit import fit
from tamis.models.train.minilm import MiniLm, minilm
from tamis.models.train.stamps import CACHE, Stamp, split, stamps

WEIGHTS = Path(__file__).parent.parent / "weights" / "tamis_mini"
DEPTHS = (1, 5, 10)


def embeddings(
    graph: Path, listed: list[Stamp], batch: int = 50
) -> Float[np.ndarray, "stamps 384"]:
    """What the graph makes of the pictures."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]
    pixels = np.stack([fit(Image.open(stamp.path), size) for stamp in listed])
    made = [
        session.run(["embedding"], {"pixels": pixels[start : start + batch]})[0]
        for start in range(0, len(pixels), batch)
    ]
    return np.concatenate(made)


def recalls(scores: Float[np.ndarray, "queries answers"]) -> list[float]:
    """Of each depth, the share of queries whose own answer, the diagonal's, is that near the top.

    Only answers that score strictly higher come before it: two stamps may share one caption.
    """
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1)
    return [float((ranks < depth).mean()) for depth in DEPTHS]


def main() -> None:
    """Prints one table a graph."""
    parser = argparse.ArgumentParser(description="Held-out recall of tamis-mini.")
    parser.add_argument("--cache", type=Path, default=CACHE, help="for what is fetched")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    asked = parser.parse_args()
    held_out = split(stamps(asked.cache)).held_out
    texts = MiniLm(minilm(asked.cache)).encode([stamp.caption for stamp in held_out])
    heads = "  ".join(f"recall@{depth:<3}" for depth in DEPTHS)
    print(f"{len(held_out)} held-out stamps{'':17}{heads}")
    full = embeddings(asked.weights / "vision.onnx", held_out)
    for graph in sorted(asked.weights.glob("*.onnx"), reverse=True):
        pictures = embeddings(graph, held_out)
        cosine = (pictures * full).sum(axis=1)
        print(
            f"{graph.name}: cosine to vision.onnx mean {cosine.mean():.4f} least {cosine.min():.4f}"
        )
        scores = texts @ pictures.T
        for way, way_scores in (("text to image", scores), ("image to text", scores.T)):
            row = "  ".join(f"{value:<10.4f}" for value in recalls(way_scores))
            print(f"{graph.name:18}{way:18}{row}")
    print(f"{'chance':36}" + "  ".join(f"{d / len(held_out):<10.4f}" for d in DEPTHS))


if __name__ == "__main__":
    main()

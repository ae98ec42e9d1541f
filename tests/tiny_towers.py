"""Checkpoints of two towers for tests: folders in which an exporter finds what it needs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor

from tamis.models.encoders import Encoder
from tamis.models.export.blip_weights import blip
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.networks.uniir import Blip
from tamis.models.runtimes import Session
from tamis.models.runtimes.folder import ModelFolder, Recipe
from tamis.models.runtimes.towers import TowersRecipe
from tamis.models.types import Content, Encoding, Side


@dataclass(frozen=True)
class Golden:
    """A golden case, and the model folder that its weights were exported to."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    folder: Path

    def session(self, recipe: type[Recipe], method: str, name: str) -> Session:
        return ModelFolder.open(self.folder, recipe, method).session(name, threads=1)

    def text(self, row: int, key: str = "text_ids") -> str:
        """The words that the case's tokenizer turns into a row's ids."""
        return as_text(self.inputs[key][row], self.marks)

    @property
    def marks(self) -> tuple[int, int]:
        return marks(self.config, self.inputs)


def exported(
    case: Path,
    folder: Path,
    method: str,
    settings: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> Golden:
    """Exports a golden case's weights as a user does."""
    said = json.loads((case / "config.json").read_text())
    inputs = load_file(case / "inputs.safetensors")
    source = folder / "source"
    source.mkdir()
    weights = load_file(case / "weights.safetensors")
    save_file(weights, source / "model.safetensors")
    if config:
        (source / "config.json").write_text(json.dumps(config))
    start, end = marks(said, inputs)
    words = max(int(tensor.max()) for name, tensor in inputs.items() if "ids" in name) + 1
    (source / "tokenizer.json").write_text(word_tokenizer(words, start, end))
    export(source, folder / "served", Options(settings=settings), method=method)
    outputs = load_file(case / "outputs.safetensors")
    return Golden(said, weights, inputs, outputs, folder / "served")


def exported_blip(case: Path, folder: Path, method: str) -> Golden:
    """Exports a golden case of UniIR's BLIP, whose text encoder has a configuration."""
    said = json.loads((case / "config.json").read_text())
    return exported(case, folder, method, _vision_heads(said), said["med"])


def blip_network(golden: Golden, *, projected: bool) -> Blip:
    source = Checkpoint.open(golden.folder.parent / "source")
    return blip(source, _vision_heads(golden.config), projected=projected).eval()


def _vision_heads(config: Mapping[str, Any]) -> dict[str, str]:
    return {"vision_heads": str(config["vit"]["num_heads"])}


def marks(config: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> tuple[int, int]:
    """The ids of the first and the last token of every text."""
    if "empty_text_ids" in config:
        first, last = config["empty_text_ids"]
        return first, last
    shortest = min(inputs["text_ids"].tolist(), key=lambda ids: sum(i != 0 for i in ids))
    return shortest[0], shortest[1]


def as_text(ids: Tensor, ends: tuple[int, int]) -> str:
    inner = ids.tolist()[1:]
    return " ".join(f"w{i}" for i in inner[: inner.index(ends[1])])


def word_tokenizer(words: int, start: int, end: int) -> str:
    """A `tokenizer.json` whose words are their own ids: ``w7`` is 7, however it is written."""
    tokenizer = Tokenizer(WordLevel({f"w{i}": i for i in range(words)}, unk_token="w3"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(".", "")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"w{start} $A w{end}", special_tokens=[(f"w{start}", start), (f"w{end}", end)]
    )
    return str(tokenizer.to_str())


def noise(seed: int = 0, width: int = 50, height: int = 40) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def dense(encoding: Encoding, head: str = "dense") -> np.ndarray:
    made = encoding.heads[head]
    assert isinstance(made, np.ndarray)
    return made


def normed(tensor: Tensor) -> np.ndarray:
    made: np.ndarray = torch.nn.functional.normalize(tensor, dim=-1).numpy()
    return made


def close(made: np.ndarray, expected: np.ndarray | Tensor, tolerance: float) -> None:
    told = expected.numpy() if isinstance(expected, Tensor) else expected
    assert made.shape == told.shape
    assert np.abs(made - told).max() <= tolerance


def pixels(recipe: TowersRecipe, *images: Image.Image) -> Tensor:
    return torch.from_numpy(np.stack([recipe.image(image) for image in images]))


MIXED: Sequence[Content] = (
    Content(text="w4 w5", image=noise()),
    Content(image=noise(1)),
    Content(text="w6 w7 w8"),
    Content(text="w9", image=noise(2, 30, 90)),
)


def same_alone(encoder: Any, contents: Sequence[Content], side: Any) -> None:
    """Asserts that each content is encoded alone as in a batch."""
    for content, together in zip(contents, encoder.encode(contents, side), strict=True):
        (alone,) = encoder.encode([content], side)
        assert alone.heads.keys() == together.heads.keys()
        for head in alone.heads:
            close(dense(alone, head), dense(together, head), 1e-5)


def same_texts(golden: Golden, encoder: Encoder, tolerance: float) -> None:
    """Asserts that a case's texts without a picture are served as the authors embed them."""
    rows = [row for row, there in enumerate(golden.inputs["img_mask"]) if not there]
    made = encoder.encode([Content(text=golden.text(row)) for row in rows], Side.DOCUMENT)
    expected = golden.outputs["embedding"][rows]
    close(np.stack([dense(encoding) for encoding in made]), expected, tolerance)


def same_sums(golden: Golden, method: str, tolerance: float, **texts: str) -> None:
    """Asserts that both graphs, and the sums of their parts' vectors, are the authors'.

    Args:
        golden: The case.
        method: Its method.
        tolerance: What a number may differ by.
        texts: The names of the `text` graph's inputs in the case.
    """
    inputs, outputs = golden.inputs, golden.outputs
    feeds = {name: inputs[key].numpy() for name, key in texts.items()}
    words = golden.session(TowersRecipe, method, "text").run(feeds)["embedding"]
    pictures = golden.session(TowersRecipe, method, "image").run(
        {"pixels": inputs["pixel_values"].numpy()}
    )["embedding"]
    close(words, outputs["text_features"], tolerance)
    close(pictures, outputs["image_features"], tolerance)
    parts = (
        words * inputs["txt_mask"].numpy()[:, None],
        pictures * inputs["img_mask"].numpy()[:, None],
    )
    same_scores(golden, parts[0] + parts[1], tolerance)


def same_scores(golden: Golden, raw: np.ndarray, tolerance: float) -> None:
    """Asserts that vectors and their products are the authors' once they are normed."""
    embedding = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    close(embedding, golden.outputs["embedding"], tolerance)
    close(embedding @ embedding.T, golden.outputs["scores"], tolerance)


def allowed(golden: Tensor, exact: Tensor, tolerance: float) -> float:
    """What a graph's vectors may differ from the authors' by.

    Some cases' weights amplify rounding so that the authors' own float32 numbers are further from
    exact arithmetic (float64) than the tolerance. Nothing that rounds otherwise can be closer to
    them than that; twice as far is allowed.
    """
    return max(tolerance, 2 * float((golden.double() - exact).abs().max()))

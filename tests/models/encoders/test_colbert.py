"""ColBERT from its authors' layout to token vectors, beside the paper written out in float64.

The export traces a network, which takes seconds.
"""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import build_engines
from safetensors.torch import load_file, save_file
from tiny_text import WIDTH, model, rules, tiny_text, vocabulary

from tamis.models.blocks.similarity import max_sim
from tamis.models.encoders.colbert import ColBERT, ColBERTRecipe
from tamis.models.errors import ModelError
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.types import Content, Kind, Side

TEXTS = ["a red bike.", "b", "", "is it [MASK], or not? " * 5, "..."]
IDS = {word: i for i, word in enumerate(vocabulary("bert"))}
QUERY, DOCUMENT, DIM = 12, 20, 6


def written(folder: Path, **metadata: Any) -> Path:
    """BERT under its prefix, the projection, and what training noted."""
    tiny_text(folder)
    bert = load_file(folder / "model.safetensors")
    linear = torch.randn(DIM, WIDTH, generator=torch.Generator().manual_seed(5))
    held = {f"bert.{key}": tensor for key, tensor in bert.items()}
    save_file(held | {"linear.weight": linear}, folder / "model.safetensors")
    said = {"query_maxlen": QUERY, "doc_maxlen": DOCUMENT, "dim": DIM, "mask_punctuation": True}
    (folder / "artifact.metadata").write_text(json.dumps(said | metadata))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ColBERT:
    source = written(tmp_path_factory.mktemp("hub") / "colbert")
    return ColBERT(folder=str(export(source, source.parent / "served", method="colbert").path))


def projected(ids: list[int], seen: int) -> np.ndarray:
    """The vectors of all tokens, of which the first `seen` are attended to."""
    linear = torch.randn(DIM, WIDTH, generator=torch.Generator().manual_seed(5)).double()
    mask = (torch.arange(len(ids)) < seen).long()[None]
    with torch.no_grad():
        states = model().double()(torch.tensor([ids]), attention_mask=mask).last_hidden_state[0]
        vectors = (states @ linear.T).numpy()
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def query_of(text: str) -> np.ndarray:
    ids = [IDS["[CLS]"], IDS["[unused0]"], *rules("bert").encode(text).ids[1:-1]]
    ids = [*ids[: QUERY - 1], IDS["[SEP]"]]
    return projected(ids + [IDS["[MASK]"]] * (QUERY - len(ids)), seen=len(ids))


def document_of(text: str) -> np.ndarray:
    ids = [IDS["[CLS]"], IDS["[unused1]"], *rules("bert").encode(text).ids[1:-1]]
    ids = [*ids[: DOCUMENT - 1], IDS["[SEP]"]]
    kept = [token not in {IDS[mark] for mark in string.punctuation} for token in ids]
    return projected(ids, seen=len(ids))[kept]


def encoded(encoder: ColBERT, side: Side, texts: list[str]) -> list[np.ndarray]:
    made = encoder.encode([Content(text=text) for text in texts], side)
    return [np.asarray(one.heads["tokens"]) for one in made]


def test_a_query_is_filled_up_with_masks_that_no_token_sees(encoder: ColBERT) -> None:
    for text, made in zip(TEXTS, encoded(encoder, Side.QUERY, TEXTS), strict=True):
        assert made.shape == (QUERY, DIM)
        assert np.abs(made - query_of(text)).max() < 1e-4


def test_a_document_is_its_tokens_without_punctuation(encoder: ColBERT) -> None:
    for text, made in zip(TEXTS, encoded(encoder, Side.DOCUMENT, TEXTS), strict=True):
        expected = document_of(text)
        assert made.shape == expected.shape
        assert np.abs(made - expected).max() < 1e-4
    assert len(document_of("...")) == 3  # [CLS], [D], [SEP]


def test_a_score_is_the_papers(encoder: ColBERT) -> None:
    held = encoded(encoder, Side.DOCUMENT, TEXTS)
    for text, own in zip(TEXTS, encoded(encoder, Side.QUERY, TEXTS), strict=True):
        exact = [sum(max(q @ d for d in document_of(t)) for q in query_of(text)) for t in TEXTS]
        assert max_sim(own, held) == pytest.approx(exact, abs=1e-3)


def test_a_text_is_encoded_alone_as_in_a_batch(encoder: ColBERT) -> None:
    for side in Side:
        for text, together in zip(TEXTS, encoded(encoder, side, TEXTS), strict=True):
            (alone,) = encoded(encoder, side, [text])
            assert np.abs(alone - together).max() < 1e-5


def test_what_it_does_not_read_is_known(encoder: ColBERT) -> None:
    assert not encoder.truncates(Content(text="a " * (DOCUMENT - 3)))
    assert encoder.truncates(Content(text="a " * (DOCUMENT - 2)))
    (head,) = encoder.heads.values()
    assert (head.kind, head.dim) == (Kind.MULTI, DIM)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"similarity": "l2"}, "similarity: 'l2', not 'cosine'"),
        ({"query_token_id": "[Q]"}, r"tokenizer\.json: has no token '\[Q\]'"),
    ],
)
def test_another_recipe_is_refused(metadata: dict[str, Any], message: str, tmp_path: Path) -> None:
    source = written(tmp_path / "colbert", **metadata)
    with pytest.raises(ModelError, match=message):
        export(source, tmp_path / "served", method="colbert")


def test_a_checkpoint_without_a_projection_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "colbert")
    tiny_text(source)
    with pytest.raises(ModelError, match=r"colbert: linear\.weight: missing"):
        export(source, tmp_path / "served", method="colbert")


def test_tensorrt_builds_its_engines(encoder: ColBERT) -> None:
    build_engines(ModelFolder.open(encoder.folder, ColBERTRecipe, "colbert"))

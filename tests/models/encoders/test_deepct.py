"""DeepCT and HDCT from transformers' files to counts of words; tracing a network takes seconds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_text import WIDTH, model, rules, tiny_text

from tamis.models.blocks.term_counts import deepct_counts, hdct_counts, word_weights
from tamis.models.blocks.words import counted, weighed
from tamis.models.encoders.deepct import DeepCt
from tamis.models.encoders.hdct import Hdct
from tamis.models.errors import ModelError
from tamis.models.export.exporting import export
from tamis.models.types import Content, Kind, Side, Sparse

TEXTS = ["a red bike.", "b", "is it a dog, or not? a dog!", "...", ""]


def head() -> torch.Tensor:
    return torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(5))


def written(folder: Path, labels: int = 1) -> Path:
    tiny_text(folder)
    bert = load_file(folder / "model.safetensors")
    held = {f"bert.{key}": tensor for key, tensor in bert.items()}
    held |= {"classifier.weight": head().repeat(labels, 1), "classifier.bias": torch.zeros(labels)}
    save_file(held, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    source = written(tmp_path_factory.mktemp("hub") / "deepct")
    return str(export(source, source.parent / "served", method="deepct").path)


def reference(text: str) -> dict[str, float]:
    """What transformers' BERT and the head say of a text's words, in float64."""
    encoding = rules("bert").encode(text)
    with torch.no_grad():
        bert = model().double()
        ids = torch.tensor([encoding.ids[:40]])
        states = bert(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        weights = (states @ head().double().T)[:, 0].numpy()
    return word_weights(text, np.array(encoding.offsets[:40]), weights)


def terms(encoder: DeepCt, text: str, side: Side) -> Sparse | None:
    (encoding,) = encoder.encode([Content(text=text)], side)
    made = encoding.heads.get("terms")
    assert made is None or isinstance(made, Sparse)
    return made


def same(made: Sparse | None, expected: Sparse, within: float = 1.0) -> None:
    """Counts may differ by one where a weight lies between two of them."""
    if made is None:
        assert not len(expected.indices)
        return
    assert made.indices.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(made.values, expected.values, atol=within)


@pytest.mark.parametrize("text", TEXTS)
def test_words_count_as_much_as_they_matter(folder: str, text: str) -> None:
    expected = weighed(deepct_counts(reference(text), 100))
    same(terms(DeepCt(folder=folder), text, Side.DOCUMENT), expected)


def test_company_changes_no_count(folder: str) -> None:
    encoder = DeepCt(folder=folder)
    together = encoder.encode([Content(text=text) for text in TEXTS], Side.DOCUMENT)
    for text, encoding in zip(TEXTS, together, strict=True):
        alone, made = terms(encoder, text, Side.DOCUMENT), encoding.heads.get("terms")
        assert (alone is None) == (made is None)
        if alone is not None and isinstance(made, Sparse):
            same(made, alone)


@pytest.mark.parametrize("mode", ["sum", "position_decay_avg"])
def test_passages_are_read_one_by_one(folder: str, mode: str) -> None:
    encoder = Hdct(folder=folder, mode=mode, passage_words=3, max_passages=2)
    expected = hdct_counts([reference("is it a "), reference("dog, or not? ")], 100, mode)
    same(terms(encoder, "is it a dog, or not? a dog!", Side.DOCUMENT), weighed(expected))
    assert terms(encoder, "...", Side.DOCUMENT) is None


def test_queries_are_counted_as_they_stand(folder: str) -> None:
    for encoder in (DeepCt(folder=folder), Hdct(folder=folder)):
        made = terms(encoder, "a red red bike", Side.QUERY)
        assert made is not None
        same(made, counted(["a", "red", "red", "bike"]), within=0)


def test_an_index_weighs_them_as_bm25_and_other_rules_are_another_index(folder: str) -> None:
    (found,) = DeepCt(folder=folder).heads.values()
    assert (found.kind, found.idf) == (Kind.SPARSE, True)
    assert found.weighting is not None
    assert (found.weighting.k1, found.weighting.b) == (10.0, 0.9)
    made = [DeepCt(folder=folder), DeepCt(folder=folder, scale=50), Hdct(folder=folder)]
    assert len({encoder.fingerprint for encoder in made}) == 3


def test_a_head_of_several_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs one label a token"):
        export(written(tmp_path / "hub", labels=2), tmp_path / "served", method="deepct")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"mode": "mean"}, "mode must be one of avg"), ({"passage_words": 0}, "at least 1")],
)
def test_a_bad_setting_is_refused(folder: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hdct(folder=folder, **settings)  # type: ignore[arg-type]

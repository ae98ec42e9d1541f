"""The encoder around tamis-mini's graph, on a tower made for the test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_tower import DIM, WIDTH, tiny_tower

from tamis.models import catalog
from tamis.models.blocks.batches import MOST
from tamis.models.encoders import Encoder
from tamis.models.encoders.tamis_mini import OWN, TamisMini
from tamis.models.errors import ModelError, SettingsError
from tamis.models.runtimes.fit import fit
from tamis.models.types import Content, Kind, Side


@pytest.fixture
def tower(tmp_path: Path) -> TamisMini:
    return TamisMini(folder=str(tiny_tower(tmp_path / "tower")))


def picture(seed: int = 0, width: int = 120, height: int = 60) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_its_heads_are_what_it_makes(tower: TamisMini) -> None:
    (encoding,) = tower.encode([Content(image=picture())], Side.DOCUMENT)
    assert [head.kind for head in tower.heads.values()] == [Kind.DENSE, Kind.MULTI]
    assert {head.space for head in tower.heads.values()} == {"all-MiniLM-L6-v2"}
    shapes = {name: np.shape(value) for name, value in encoding.heads.items()}  # type: ignore[arg-type]
    assert shapes == {"dense": (DIM,), "tokens": (144, DIM)}


def test_its_visual_tokens_are_the_patches_in_raster_order(tower: TamisMini) -> None:
    """The tower averages colours, so a patch's place can be read from its token."""
    image = Image.new("RGB", (96, 96), "black")
    image.paste("white", (8, 16, 16, 24))  # the third row's second patch
    (encoding,) = tower.encode([Content(image=image)], Side.DOCUMENT)
    visual = encoding.visual
    assert visual is not None
    assert (visual.embeddings.shape, visual.grid) == ((144, WIDTH), (12, 12))
    assert visual.positions.tolist() == list(range(144))
    assert np.flatnonzero(np.abs(visual.embeddings).sum(axis=1)).tolist() == [2 * 12 + 1]
    assert visual.attention.argmax() == 2 * 12 + 1
    assert visual.attention.sum() == pytest.approx(1, abs=1e-5)


def test_a_picture_is_encoded_alone_as_in_a_batch(tower: TamisMini) -> None:
    contents = [Content(image=picture(seed, 50 + 40 * seed)) for seed in range(3)]
    for content, together in zip(contents, tower.encode(contents, Side.QUERY), strict=True):
        (alone,) = tower.encode([content], Side.QUERY)
        for head, made in alone.heads.items():
            assert np.abs(made - together.heads[head]).max() <= 1e-5  # type: ignore[operator]


def test_it_reads_pictures_as_training_does(tower: TamisMini) -> None:
    image = picture()
    fitted = Image.fromarray(fit(image, 96))
    whole, small = tower.encode([Content(image=image), Content(image=fitted)], Side.QUERY)
    assert np.array_equal(whole.heads["dense"], small.heads["dense"])  # type: ignore[arg-type]


def test_a_content_without_a_picture_has_no_heads(tower: TamisMini) -> None:
    text, image = tower.encode([Content(text="words"), Content(image=picture())], Side.QUERY)
    assert (dict(text.heads), text.visual) == ({}, None)
    assert image.heads.keys() == {"dense", "tokens"}
    assert tower.encode([], Side.QUERY) == []


def test_what_it_returns_does_not_keep_the_batch_alive(tower: TamisMini) -> None:
    first, _ = tower.encode([Content(image=picture(seed)) for seed in range(2)], Side.DOCUMENT)
    assert all(value.base is None for value in first.heads.values())  # type: ignore[union-attr]


def test_an_engine_is_never_given_more_than_it_was_built_for(
    tower: TamisMini, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [Content(image=picture(i, 30, 30)) for i in range(2 * MOST + 1)]
    contents.insert(MOST, Content(text="words"))
    session, sizes = tower._sessions["vision"], list[int]()

    class Counted:
        def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            sizes.append(len(inputs["pixels"]))
            return session.run(inputs)

    monkeypatch.setitem(tower._sessions, "vision", Counted())
    made = tower.encode(contents, Side.DOCUMENT)
    assert sizes == [MOST, MOST, 1]
    assert [not one.heads for one in made] == [i == MOST for i in range(len(contents))]
    (alone,) = tower.encode(contents[-1:], Side.DOCUMENT)
    assert made[-1].heads["dense"] == pytest.approx(alone.heads["dense"], abs=1e-5)


def test_it_shows_what_it_reads(tower: TamisMini) -> None:
    image = picture()
    assert np.array_equal(np.asarray(tower.framed(image, 1)), fit(image, 96))
    assert tower.framed(image, 3).size == (288, 288)


def test_a_batch_is_sized_by_patches(tower: TamisMini) -> None:
    assert tower.cost(Content(image=picture())) == 144


def test_the_quantised_graph_is_another_model(tmp_path: Path) -> None:
    folder = str(tiny_tower(tmp_path / "tower", int8=True))
    single, quantised = (TamisMini(folder=folder, precision=p) for p in ("float32", "int8"))
    assert single.fingerprint != quantised.fingerprint
    one, other = (t.encode([Content(image=picture())], Side.QUERY)[0] for t in (single, quantised))
    assert not np.allclose(one.heads["dense"], other.heads["dense"])  # type: ignore[arg-type]


def test_a_second_graph_does_not_change_the_first(tmp_path: Path) -> None:
    alone = TamisMini(folder=str(tiny_tower(tmp_path / "alone")))
    beside = TamisMini(folder=str(tiny_tower(tmp_path / "beside", int8=True)))
    assert alone.fingerprint == beside.fingerprint


@pytest.mark.parametrize(("old", "new"), [('"pad"', '"crop"'), ("[255, 255, 255]", "[0, 0, 0]")])
def test_pictures_prepared_in_another_way_are_refused(tmp_path: Path, old: str, new: str) -> None:
    toml = tiny_tower(tmp_path / "tower") / "model.toml"
    toml.write_text(toml.read_text().replace(old, new))
    with pytest.raises(ModelError, match=r"tower: resize and fill: .* knows 'pad' and \[255, 255"):
        TamisMini(folder=str(toml.parent))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_one_that_ships_makes_unit_vectors(precision: str) -> None:
    if not (OWN / "vision.int8.onnx").exists():
        pytest.skip("its weights are not in this checkout")
    tower = TamisMini(precision=precision)
    (encoding,) = tower.encode([Content(image=picture())], Side.DOCUMENT)
    assert encoding.visual is not None
    assert encoding.visual.attention.sum() == pytest.approx(1, abs=1e-4)
    for name, head in tower.heads.items():
        value = encoding.heads[name]
        assert isinstance(value, np.ndarray)
        assert value.shape[-1] == head.dim == 384
        assert np.allclose(np.linalg.norm(value, axis=-1), 1, atol=1e-4)


def test_a_precision_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = str(tiny_tower(tmp_path / "tower"))
    with pytest.raises(ModelError, match="tower: has no int8 graph"):
        TamisMini(folder=folder, precision="int8")
    with pytest.raises(SettingsError, match="precision must be float32 or int8, not 'half'"):
        catalog.load(Encoder, "tamis_mini", {"folder": folder, "precision": "half"})

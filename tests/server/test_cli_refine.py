"""`tamis refine`, in this process, with the encoder that ships with tamis and a tiny one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import drawing
from PIL import Image
from tiny_tower import tiny_tower
from typer.testing import CliRunner

from tamis.models.errors import ImageError, ModelError, SettingsError, UnknownMethodError
from tamis.models.export.minilm import export, packaged
from tamis.server.cli.app import app
from tamis.server.refined import look, refine, visual_refiners

METHODS = {"divprune", "gprune", "mustdrop", "prumerge", "tome", "visionzip"}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "circle.png"
    path.write_bytes(drawing("circle", "red"))
    return path


@pytest.fixture(scope="module")
def minilm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        packaged()
    except ModelError as error:
        pytest.skip(str(error))
    return export(tmp_path_factory.mktemp("served") / "minilm").path


def run(*arguments: str | Path) -> str:
    made = CliRunner().invoke(app, ["refine", *map(str, arguments)], catch_exceptions=False)
    assert made.exit_code == 0
    return made.stdout


def objects(*arguments: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").splitlines()]


def test_a_table_and_a_drawing_of_one_method(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    lines = run(picture, "--method", "gprune", "--show", out).splitlines()
    assert lines[0] == "circle.png: 144 tokens of tamis_mini, at most 36 kept"
    assert lines[1].split() == ["method", "before", "after", "ms", "kept", "merged", "dropped"]
    row = lines[2].split()
    assert row[:3] + row[4:] == ["gprune", "144", "36", "25%", "0%", "75%"]
    assert lines[3:] == [f"drawn: {out}"]
    with Image.open(out) as drawn:
        assert np.ptp(np.asarray(drawn)) > 200


def test_every_visual_refiner_is_on_one_sheet(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    made = objects(picture, "-m", "all", "--keep", "20", "--show", out)
    assert [one["method"] for one in made] == visual_refiners()
    assert set(visual_refiners()) > METHODS
    for one in made:
        assert one["kept"] + one["merged"] + one["dropped"] == pytest.approx(1)
        assert one["after"] == 144 if one["method"] == "identity" else one["after"] <= 20
        assert round(144 * one["kept"]) == one["after"]
    merging = {one["method"] for one in made if one["merged"] > 0}
    assert {"tome", "llavolta", "visionzip"} <= merging
    assert not merging & {"divprune", "gprune", "random", "uniform", "identity"}
    with Image.open(out) as drawn:
        assert drawn.width > drawn.height


def test_methods_can_be_named_one_by_one(picture: Path) -> None:
    made = objects(picture, "-m", "uniform", "-m", "tome", "-m", "uniform")
    assert [one["method"] for one in made] == ["uniform", "tome"]


def test_it_tells_how_much_is_left_of_what_is_like_the_query(
    picture: Path, minilm_folder: Path
) -> None:
    query = ("--query", "a red circle", "--query-encoder", minilm_folder)
    named = ("-m", "identity", "-m", "divprune", "-m", "llavolta")
    shares = [one["like_the_query"] for one in objects(picture, *named, *query)]
    assert shares[0] == shares[2] == 1
    assert 0 < shares[1] < 1
    assert run(picture, *named, *query).splitlines()[1].endswith("like the query")


def test_a_query_is_read_in_the_space_of_the_tokens(picture: Path, tmp_path: Path) -> None:
    tower = str(tiny_tower(tmp_path / "tower"))
    with Image.open(picture) as image, pytest.raises(SettingsError, match="reads no text into"):
        look(image.convert("RGB"), tower, "a circle", tower)


def test_what_is_sought_is_counted_whether_kept_or_merged(picture: Path) -> None:
    with Image.open(picture) as image:
        tokens = look(image.convert("RGB"), "tamis_mini").tokens
    dropping, merging = refine("divprune", tokens, 10), refine("tome", tokens, 10)
    kept = np.flatnonzero(dropping.owners >= 0)
    gone = np.flatnonzero(dropping.owners < 0)
    assert dropping.found(kept) == 1
    assert dropping.found(gone) == 0
    assert dropping.found(np.concatenate([kept[:5], gone[:15]])) == 0.25
    assert merging.found(gone) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["-m", "tom"], UnknownMethodError, "'tom' is not one of: divprune, .*visionzip; or all"),
        (["-m", "cpc"], UnknownMethodError, "'cpc' is not one of"),
        (["--keep", "0"], SettingsError, "--keep: 0: must be from 1 to tamis_mini's 144"),
        (["--keep", "145"], SettingsError, "--keep: 145: must be from 1 to"),
        (["--encoder", "no/such"], ModelError, "no/such is not a model folder"),
        (["--encoder", "bm25"], SettingsError, "bm25: gives no visual tokens"),
        (["--encoder", "clip"], SettingsError, "clip.folder: missing"),
        (["--show", "out.txt"], SettingsError, r"out.txt: not a picture's name, such as out.png"),
        (["--show", "no/such/out.png"], SettingsError, "no/such: no such folder"),
        (["--query", "x", "--query-encoder", "bm25"], SettingsError, "bm25: reads no text into"),
    ],
)
def test_what_is_out_of_range_is_named(
    picture: Path, arguments: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(picture, *arguments)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(ImageError, match=r"notes.png: not a picture that we read"):
        run(path)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.new("1", (40_000, 1_001)).save(path)
    with pytest.raises(ImageError, match=r"wide.png: 40000 x 1001 = 40040000 pixels; at most"):
        run(path)

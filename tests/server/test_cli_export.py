"""`tamis export`, in this process. One full run traces a network, which takes seconds."""

from pathlib import Path

import pytest
from tiny_text import tiny_text
from typer.testing import CliRunner

from tamis.models.encoders.bert import Bert
from tamis.models.errors import TamisError
from tamis.models.types import Content, Side
from tamis.server.cli.app import app


def run(*arguments: str | Path) -> str:
    made = CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)
    assert made.exit_code == 0
    return made.stdout


def test_it_says_what_it_checked_and_the_folder_serves(tmp_path: Path) -> None:
    source = tiny_text(tmp_path / "tiny")
    said = run(source, "--out", tmp_path / "out", "--precision", "int8", "--method", "bert",
               "--name", "mine", "--licence", "MIT")  # fmt: skip
    assert "text.onnx: differs from the network by " in said
    assert "(allowed 1e-04) over 4 real batches and 2 random ones" in said
    assert "text.onnx: int8: cosine to float32 mean 0.9" in said
    assert "recall@5" in said
    assert f"{tmp_path / 'out'}: mine, method bert, int8, " in said
    (encoding,) = Bert(folder=str(tmp_path / "out")).encode([Content(text="a")], Side.QUERY)
    assert encoding.heads.keys() == {"dense", "tokens"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "writer"], "method: 'writer' is not one of"),
        (["--set", "codes", "--method", "bert"], "'codes' is not KEY=VALUE"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    source = tiny_text(tmp_path / "tiny")
    with pytest.raises(TamisError, match=message):
        run(source, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()

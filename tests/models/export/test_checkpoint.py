"""Published weights are read to the last key, or refused with the key or the file that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def weights() -> dict[str, Tensor]:
    return {key: torch.randn(tensor.shape) for key, tensor in network().state_dict().items()}


def written(folder: Path, tensors: dict[str, Tensor], name: str = "model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / name)
    return folder


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_every_tensor_reaches_its_place(tmp_path: Path) -> None:
    held, made = weights(), network()
    load(made, Checkpoint.open(written(tmp_path / "net", held)).tensors())
    assert same(made.state_dict(), held)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_tensors_come_in_single_precision(tmp_path: Path, kind: torch.dtype) -> None:
    held: dict[str, Tensor] = {"a": torch.ones(2, dtype=kind), "n": torch.ones(2).long()}
    tensors = Checkpoint.open(written(tmp_path / "net", held)).tensors()
    assert (tensors["a"].dtype, tensors["n"].dtype) == (torch.float32, torch.int64)


def test_one_file_of_any_name_will_do(tmp_path: Path) -> None:
    held = weights()
    folder = written(tmp_path / "net", held, "open_clip_model.safetensors")
    assert same(Checkpoint.open(folder).tensors(), held)
    written(folder, {"other": torch.ones(1)}, "more.safetensors")
    with pytest.raises(ModelError, match="which of these holds the weights"):
        Checkpoint.open(folder).tensors()


def sharded(folder: Path, held: dict[str, Tensor]) -> Path:
    shards = {key: f"model-{i % 2}.safetensors" for i, key in enumerate(held)}
    for name in set(shards.values()):
        written(folder, {key: held[key] for key in held if shards[key] == name}, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    return folder


def test_shards_are_joined(tmp_path: Path) -> None:
    held = weights()
    assert same(Checkpoint.open(sharded(tmp_path / "net", held)).tensors(), held)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "net", weights())
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-1\.safetensors: no such file"):
        Checkpoint.open(folder).tensors()
    written(folder, {"other": torch.ones(1)}, "model-1.safetensors")
    with pytest.raises(ModelError, match=r"index\.json: 0\.bias: is not in model-1\.safetensors"):
        Checkpoint.open(folder).tensors()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "best.pt", "dpr.cp.pth", "net.ckpt"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match=rf"{name}: a pickle can run code.*save_file"):
        Checkpoint.open(tmp_path).tensors()


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no \.safetensors file"):
        Checkpoint.open(tmp_path).tensors()


@given(st.data())
def test_a_truncated_file_is_named_wherever_it_ends(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("hub") / "net", weights()) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ModelError, match=r"net/model\.safetensors: cannot be read: "):
        Checkpoint.open(path.parent).tensors()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, r"^0\.bias: missing"),
        ({"2.bias": torch.ones(2)}, r"^2\.bias: unknown: Sequential has no place for it"),
        ({"0.weight": torch.ones(2, 4)}, r"^0\.weight: expected \[2, 3\], got \[2, 4\]"),
    ],
    ids=["missing", "unknown", "another shape"],
)
def test_a_tensor_that_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    held = {key: value for key, value in (weights() | change).items() if value is not None}
    with pytest.raises(ModelError, match=message):
        load(network(), held)


def test_keys_are_renamed_and_left_out_by_name() -> None:
    held, made = weights(), network()
    spelled = {f"net.{key}": tensor for key, tensor in held.items()}
    extra = {"queue.0": torch.ones(1), "net.skip": torch.ones(1)}

    def rename(key: str) -> str | None:
        return None if key == "net.skip" else key.removeprefix("net.")

    load(made, spelled | extra, rename=rename, ignore=("queue.*",))
    assert same(made.state_dict(), held)
    with pytest.raises(ModelError, match=r"net\.0\.bias: a second tensor for 0\.bias"):
        load(made, {"0.bias": held["0.bias"]} | spelled, rename=rename, ignore=extra)


def test_a_tied_tensor_may_be_there_once() -> None:
    words, scores = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
    scores.weight = words.weight
    load(nn.Sequential(words, scores), {"0.weight": torch.full((4, 3), 7.0)})
    assert scores.weight.eq(7).all()


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json: not (a JSON object|JSON: )"):
        Checkpoint.open(tmp_path)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="/nowhere/at/all: no such folder"):
        Checkpoint.open("/nowhere/at/all")

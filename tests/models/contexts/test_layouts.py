"""Caches as LMCache and vLLM lay them out, read back as they read them."""

import hashlib
import struct

import numpy as np
import pytest
import safetensors.torch
import torch

from tamis.models.contexts.key_values import KeptLayer, KeyValues
from tamis.models.contexts.layouts import lmcache_chunks, vllm_files
from tamis.models.errors import InputError

HEADS, DIM = 2, 4


def cache(rng: np.random.Generator, kept: int, *, tokens: int, window: int = 0) -> KeyValues:
    """Three layers; numbers that bfloat16 has."""
    layers = []
    for _ in range(3):
        keys, values = rng.integers(-128, 128, (2, HEADS, kept, DIM)).astype(np.float32)
        positions = np.tile(np.arange(tokens - kept, tokens), (HEADS, 1))
        layers.append(KeptLayer(keys, values, positions, np.ones(DIM // 2, np.float32), window))
    return KeyValues(tuple(layers), tokens)


def test_lmcaches_chunks_hold_every_layers_keys_then_values(rng: np.random.Generator) -> None:
    made = cache(rng, 600, tokens=600)
    chunks = list(lmcache_chunks(made))
    read = []
    for chunk in chunks:
        length, layout, dtype, *shape = struct.unpack("<7i", chunk.metadata)
        assert (length, layout, dtype) == (len(chunk.kv_bytes), 1, 3)
        read.append(torch.frombuffer(bytearray(chunk.kv_bytes), dtype=torch.bfloat16).view(shape))
    assert [part.shape[2] for part in read] == [256, 256, 88]
    whole = torch.cat(read, dim=2).float().numpy()
    for number, layer in enumerate(made.layers):
        for part, expected in enumerate((layer.keys, layer.values)):
            found = whole[part, number].reshape(600, HEADS, DIM).transpose(1, 0, 2)
            assert np.array_equal(found, expected)


def test_vllms_files_hold_a_layer_each(rng: np.random.Generator) -> None:
    made, ids = cache(rng, 32, tokens=32), list(range(900, 932))
    files = vllm_files(made, ids)
    folder = hashlib.md5(torch.tensor(ids).numpy().tobytes()).hexdigest()
    for number, layer in enumerate(made.layers):
        name = f"{folder}/model.layers.{number}.self_attn.attn.safetensors"
        held = safetensors.torch.load(files[name])["kv_cache"]
        assert held.dtype == torch.bfloat16
        found = held.float().numpy().reshape(2, 32, HEADS, DIM).swapaxes(1, 2)
        assert np.array_equal(found, np.array([layer.keys, layer.values]))
    assert len(files) == 3


def test_a_pruned_cache_must_have_been_moved(rng: np.random.Generator) -> None:
    made = cache(rng, 16, tokens=20)
    with pytest.raises(InputError, match="16 of 20 tokens in original positions: shift them first"):
        next(lmcache_chunks(made))
    (chunk,) = lmcache_chunks(made.shifted())
    assert len(chunk.kv_bytes) == 2 * 3 * 16 * HEADS * DIM * 2


def test_windows_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="layers with a window"):
        next(lmcache_chunks(cache(rng, 7, tokens=20, window=8)))


@pytest.mark.parametrize(("kept", "ids"), [(17, 17), (16, 15)])
def test_vllm_wants_whole_blocks(kept: int, ids: int, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=f"{kept} tokens under {ids} ids"):
        vllm_files(cache(rng, kept, tokens=kept), [0] * ids)

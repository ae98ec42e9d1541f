"""A key-value cache as LMCache and vLLM keep theirs, in bfloat16.

Both count positions by slots, so that a pruned cache must have been shifted, or packed; both want
equally many tokens in every layer, so that layers with a window are refused. And both find a cache
by the ids of the tokens that made it, which those of a pruned one do not name: it is kept under ids
that stand for it, one a slot and of no other prompt, and asked for by a prompt of these ids and the
question.

LMCache (remote `redis://`, chunks of 256 tokens). The key of a chunk is

    MODEL@WORLD_SIZE@WORKER@HASH@bfloat16

whose hash, of the ids up to the chunk's end, depends on LMCache's own configuration. A chunk's
bytes are under that key with `kv_bytes` after it, and are set first; with `metadata` after it are
seven int32: the bytes' length, 1 for KV_2LTD, 3 for bfloat16, and the shape. The bytes are an array
of (2, layers, tokens, kv_heads * dim), keys first. `resp://` wants the bytes alone, in full chunks.

vLLM (0.9 to 0.11, `SharedStorageConnector`; later releases arrange their pages otherwise). A folder
named by the MD5 of the ids as int64, and in it for each layer a safetensors file with one tensor
`kv_cache` of (2, tokens, kv_heads * dim). Tokens come in whole blocks of 16.

Sources: LMCache's `v1/protocol.py` and vLLM's `shared_storage_connector.py`, read; the layouts are
not tested with either program.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tamis.models.contexts.key_values import KeyValues, PositionMode
from tamis.models.contexts.precision import Precision, encode
from tamis.models.errors import InputError

CHUNK = 256  # tokens
BLOCK = 16  # tokens
KV_2LTD, BFLOAT16 = 1, 3  # LMCache's numbers for them


@dataclass(frozen=True, slots=True)
class Chunk:
    """Two values of LMCache's."""

    metadata: bytes
    kv_bytes: bytes


def lmcache_chunks(cache: KeyValues, tokens: int = CHUNK) -> Iterator[Chunk]:
    """A cache in chunks of so many tokens; the last may have fewer.

    Raises:
        InputError: Layers have windows, or tokens were dropped and nothing was moved.
    """
    layers = _bits(cache)
    for first in range(0, cache.kept, tokens):
        chunk = np.ascontiguousarray(layers[:, :, first : first + tokens])
        metadata = struct.pack("<7i", chunk.nbytes, KV_2LTD, BFLOAT16, *chunk.shape)
        yield Chunk(metadata, chunk.tobytes())


def vllm_files(cache: KeyValues, ids: Sequence[int]) -> dict[str, bytes]:
    """The files of a cache by their paths under `shared_storage_path`.

    Args:
        cache: Of a multiple of 16 tokens.
        ids: Those that stand for it.

    Raises:
        InputError: As for `lmcache_chunks`, or the counts do not fit.
    """
    if cache.kept % BLOCK or len(ids) != cache.kept:
        raise InputError(
            f"{cache.kept} tokens under {len(ids)} ids; vLLM wants an id a token, and whole blocks "
            f"of {BLOCK}"
        )
    hashed = hashlib.md5(np.array(ids, dtype="<i8").tobytes(), usedforsecurity=False)
    return {
        f"{hashed.hexdigest()}/model.layers.{number}.self_attn.attn.safetensors": _safetensors(bits)
        for number, bits in enumerate(_bits(cache).swapaxes(0, 1))
    }


def _bits(cache: KeyValues) -> np.ndarray:
    """All of it as uint16: (2, layers, tokens, kv_heads * dim)."""
    if any(layer.window for layer in cache.layers):
        raise InputError("layers with a window hold other tokens than the rest")
    if cache.mode is PositionMode.ORIGINAL and cache.kept != cache.tokens:
        raise InputError(
            f"{cache.kept} of {cache.tokens} tokens in original positions: shift them first"
        )
    both = [[layer.keys for layer in cache.layers], [layer.values for layer in cache.layers]]
    by_token = np.array(both).swapaxes(2, 3)
    return encode(by_token.reshape(*by_token.shape[:3], -1), Precision.BFLOAT16).numbers


def _safetensors(bits: np.ndarray) -> bytes:
    data = np.ascontiguousarray(bits, dtype="<u2").tobytes()
    told = {"dtype": "BF16", "shape": bits.shape, "data_offsets": [0, len(data)]}
    header = json.dumps({"kv_cache": told}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data

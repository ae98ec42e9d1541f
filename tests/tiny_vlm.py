"""Vision-language checkpoints so small that a test can export them, and what they are made of."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

QWEN2_VL: dict[str, Any] = {
    "model_type": "qwen2_vl",
    "image_token_id": 262,
    "vision_start_token_id": 260,
    "vision_end_token_id": 261,
    "video_token_id": 263,
    "text_config": {
        "vocab_size": 272,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 1, 1],
        },
    },
    "vision_config": {
        "depth": 2,
        "embed_dim": 24,
        "hidden_size": 32,
        "num_heads": 3,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
    },
}
QWEN2_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|box|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def byte_tokenizer(special: Sequence[str]) -> Tokenizer:
    """A token a byte of UTF-8, ids 0 to 255, then the special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def word_tokenizer(size: int, special: Mapping[str, int]) -> Tokenizer:
    """Words ``w0``, ``w1`` and so on, but for the special tokens' ids; the last is any other."""
    names = {token_id: token for token, token_id in special.items()}
    vocabulary = {names.get(i, f"w{i}"): i for i in range(size)}
    unknown = next(token for token in reversed(vocabulary) if token not in special)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], tokenizer: Tokenizer
) -> Path:
    """A Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors"
    )
    return folder


def scattered(module: torch.nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """A module's tensors, random and large enough that an error would be seen."""
    random = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(value.shape, generator=random) * (0.3 if value.dim() > 1 else 0.1)
        + (1.0 if "norm" in key and key.endswith("weight") else 0.0)
        for key, value in module.state_dict().items()
    }

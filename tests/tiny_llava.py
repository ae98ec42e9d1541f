"""A LLaVA with random weights, so small that a test can run it many times."""

from typing import Any

import torch
from tiny_vlm import scattered
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

SIDE, PATCH = 48, 8
VISUAL = (SIDE // PATCH) ** 2
BOS, IMAGE, WORDS = 1, 2, 40
IDS = [BOS, 7, *[IMAGE] * VISUAL, 11, 5, 30, 9]
START = 2  # of the picture in them


def llava(attention: str = "sdpa", **config: Any) -> Any:
    """The model: a tower of 4 layers, a decoder of 6."""
    vision = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=WORDS,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=BOS,
        eos_token_id=0,
    )
    told: dict[str, Any] = {
        "image_token_id": IMAGE,
        "image_seq_length": VISUAL,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": False,
        "attn_implementation": attention,
    }
    whole = LlavaConfig(vision_config=vision, text_config=text, **told | config)
    made: Any = LlavaForConditionalGeneration(whole)
    made.load_state_dict(scattered(made))
    return made.eval().requires_grad_(False)


def picture(seed: int = 0) -> Tensor:
    """Pixels as a processor would make them."""
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))

"""The small vision-language model: its sizes, how it starts, and its files."""

import math
from pathlib import Path

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from tamis.models.train.easy_vqa import BOS, IMAGE, PAD, PIXELS, Words

WEIGHTS = Path(__file__).parent.parent / "weights" / "mini_vlm"
PATCH = 8  # pixels a side


def config(words: Words) -> LlavaConfig:
    """The model's sizes: 2.0 million weights."""
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=PIXELS,
        patch_size=PATCH,
    )
    pad, bos, image = (words.ids(token)[0] for token in (PAD, BOS, IMAGE))
    text = LlamaConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=len(words),
        max_position_embeddings=256,
        pad_token_id=pad,
        bos_token_id=bos,
        eos_token_id=pad,
        tie_word_embeddings=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(PIXELS // PATCH) ** 2,
        tie_word_embeddings=False,
    )


@torch.no_grad()
def place(model: LlavaForConditionalGeneration) -> None:
    """Starts the patches' places as waves, so that neighbours are alike from the first step.

    A shape is a matter of which patches lie beside which, and the library starts with small
    noise. All share one more vector: without it the norm that follows leaves only a patch's
    direction, which is the same for black as for gray.
    """
    weight = model.model.vision_tower.embeddings.position_embedding.weight
    side, width = PIXELS // PATCH, weight.shape[1]
    frequencies = math.pi / 2 * 50.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = waves.repeat_interleave(side, dim=0)
    weight[1:] = 0.2 * torch.cat([rows, waves.repeat(side, 1)], dim=1)
    weight += 0.3 * torch.randn(width)


def publish(model: LlavaForConditionalGeneration, words: Words, folder: Path) -> None:
    """Writes a folder that `load` and Hugging Face read; float16."""
    folder.mkdir(parents=True, exist_ok=True)
    half = LlavaForConditionalGeneration(model.config).half()  # type: ignore[no-untyped-call]
    half.load_state_dict(model.state_dict())
    half.save_pretrained(folder)
    words.save(folder)


def load(folder: Path = WEIGHTS) -> tuple[LlavaForConditionalGeneration, Words]:
    """The model in float32, ready to answer, and its words."""
    model = LlavaForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    return model.train(False).requires_grad_(False), Words.open(folder)

"""CLIP's vision tower in the shapes of its other users, against transformers and by properties."""

import pytest
import torch
from transformers import BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionModel

from tamis.models.networks.clip import TextShape, TextTower, VisionShape, VisionTower
from tamis.models.networks.clip_graphs import TextGraph

RENAMES = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.position_embedding": "positional_embedding",
    "embeddings.patch_embedding.": "conv1.",
    "encoder.layers.": "transformer.resblocks.",
    "self_attn.qkv.": "attn.in_proj_",
    "self_attn.projection.": "attn.out_proj.",
    "layer_norm": "ln_",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
    "post_layernorm.": "ln_post.",
}


def blip(*, fused: bool) -> tuple[VisionTower, BlipVisionModel]:
    torch.manual_seed(0)
    config = BlipVisionConfig(
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    reference = BlipVisionModel(config).eval()  # type: ignore[no-untyped-call]
    shape = VisionShape(
        width=24,
        layers=2,
        heads=3,
        inner=40,
        activation="gelu",
        epsilon=1e-6,
        patch=8,
        grid=(4, 4),
        dim=0,
        pre_norm=False,
        patch_bias=True,
        fused=fused,
    )
    tower, tensors = VisionTower(shape).eval(), {}
    for key, tensor in reference.state_dict().items():
        for old, new in RENAMES.items():
            key = key.replace(old, new)
        own = tensor.reshape(-1) if key == "class_embedding" else tensor
        tensors[key] = own[0] if key == "positional_embedding" else own
    tower.load_state_dict(tensors)
    return tower, reference


@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_blips_tower_is_that_of_transformers(fused: bool) -> None:
    tower, reference = blip(fused=fused)
    pixels = torch.randn(3, 3, 32, 32)
    told = reference(pixels).last_hidden_state
    assert (tower.projected(tower(pixels)) - told).abs().max() <= 1e-5


@torch.no_grad()
def test_what_is_seen_on_the_way_changes_nothing() -> None:
    tower, _ = blip(fused=True)
    pixels = torch.randn(2, 3, 32, 32)
    seen = tower.seen(pixels)
    assert torch.equal(seen.last, tower(pixels))
    assert seen.penultimate.shape == (2, 16, 24)
    assert torch.allclose(seen.attention.sum(-1), torch.ones(2))


@torch.no_grad()
def test_a_texts_padding_changes_nothing() -> None:
    """A token sees those before it only, so texts need not be padded to the context."""
    torch.manual_seed(0)
    shape = TextShape(
        width=16, layers=2, heads=2, inner=32, context=9, vocabulary=20, dim=8, activation="gelu"
    )
    graph = TextGraph(TextTower(shape)).eval()
    ids = torch.tensor([[18, 4, 5, 19]])
    padded = torch.nn.functional.pad(ids, (0, 5))
    assert torch.allclose(graph(ids), graph(padded), atol=1e-6)

"""The tower's promises, and that it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime.quantization", exc_type=ImportError)
pytest.importorskip("onnxscript")

from tamis.models.encoders.tamis_mini import TamisMini  # noqa: E402
from tamis.models.networks.mini_vit import MiniVit, MiniVitShape  # noqa: E402
from tamis.models.train.mini import (  # noqa: E402
    Phase,
    Recipe,
    Run,
    loss_of,
    phase_of,
    rate_of,
)
from tamis.models.train.mini_data import Data, augmented  # noqa: E402
from tamis.models.train.mini_export import export  # noqa: E402
from tamis.models.types import Content, Side  # noqa: E402

SMALL = MiniVitShape(width=32, depth=1, heads=2, stem=(8, 8))


def pictures(count: int, side: int = 96) -> Any:
    seeded = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=seeded)


def rows(count: int) -> Data:
    seeded = torch.Generator().manual_seed(2)
    rgba = torch.randint(0, 256, (count, 1, 1, 4), dtype=torch.uint8, generator=seeded)
    texts = torch.nn.functional.normalize(torch.randn(count, 384, generator=seeded), dim=1)
    return Data(
        pixels=rgba.expand(-1, 96, 96, -1).contiguous() | torch.tensor([0, 0, 0, 255]).byte(),
        weights=torch.ones(count),
        captions=torch.arange(count)[:, None].repeat(1, 8),
        mirrors=torch.zeros(count),
        inks=torch.zeros(count),
        texts=texts,
    )


def test_gives_a_vector_a_picture_and_one_a_patch() -> None:
    seen = MiniVit(SMALL).eval()(pictures(2))
    assert seen.embedding.shape == (2, 384)
    assert seen.tokens.shape == (2, 144, 384)
    assert seen.visual.shape == (2, 144, 32)
    assert seen.attention.shape == (2, 144)


def test_vectors_are_of_unit_length_and_attention_sums_to_one() -> None:
    seen = MiniVit(SMALL).eval()(pictures(2))
    assert seen.embedding.norm(dim=-1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert seen.tokens.norm(dim=-1).flatten().tolist() == pytest.approx([1] * 288, abs=1e-5)
    assert seen.attention.sum(-1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert bool((seen.attention >= 0).all())


def test_a_picture_is_the_weighted_mean_of_its_patches_in_the_text_space() -> None:
    tower = MiniVit(SMALL).eval()
    seen = tower(pictures(3))
    mean = (seen.attention[..., None] * tower.head(seen.visual)).sum(1)
    mean = mean / mean.norm(dim=-1, keepdim=True)
    assert torch.allclose(mean, seen.embedding, atol=1e-5)


def test_looks_only_at_the_patches_that_are_kept() -> None:
    tower = MiniVit(SMALL).eval()
    every = torch.arange(144).flip(0).expand(2, -1)
    assert torch.allclose(
        tower(pictures(2)).embedding, tower(pictures(2), every).embedding, atol=1e-5
    )
    assert tower(pictures(2), every[:, :30]).tokens.shape == (2, 30, 384)


def test_reads_other_sizes_in_training() -> None:
    assert MiniVit(SMALL)(pictures(2, 48)).attention.shape == (2, 36)


def test_refuses_a_shape_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="multiple"):
        MiniVitShape(width=30, heads=4)


def test_augmented_pictures_keep_their_size_and_are_not_one() -> None:
    made = augmented(rows(4), torch.tensor([0, 0, 1]), 64, torch.Generator().manual_seed(0))
    assert made.shape == (3, 64, 64, 3)
    assert made.dtype == torch.uint8
    assert not torch.equal(made[0], made[1])


def test_the_loss_is_least_where_pictures_are_their_captions() -> None:
    texts, scale, none = rows(8).texts, torch.tensor(20.0), torch.zeros(8, 8).bool()
    assert float(loss_of(texts, texts, none, scale, 1.0)) == pytest.approx(0, abs=1e-3)
    assert float(loss_of(texts.roll(1, 0), texts, none, scale, 1.0)) > 1


def test_a_caption_that_is_as_good_is_no_wrong_answer() -> None:
    texts, scale = rows(8).texts, torch.tensor(20.0)
    doubled = torch.cat([texts[:1], texts[:1], texts[2:]])
    alike = doubled @ doubled.T > 0.99
    assert float(loss_of(doubled, doubled, alike, scale, 1.0)) == pytest.approx(0, abs=1e-3)
    assert float(loss_of(doubled, doubled, ~alike & alike, scale, 1.0)) > 0.1


def test_phases_follow_one_another_and_the_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(steps=100, warmup_steps=10)
    sizes = [phase_of(step, recipe).size for step in range(100)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 96
    rates = [rate_of(step, recipe) for step in range(100)]
    assert rates[0] < rates[5] < rates[9] == rates[60] == recipe.rate
    assert 0 < rates[99] < 0.05 * recipe.rate


FEW = Recipe(
    steps=20,
    batch=8,
    bank=4,
    warmup_steps=1,
    rate=3e-3,
    phases=(Phase(share=1.0, size=48, kept=0.7),),
)


def test_a_few_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    tower, texts, none = MiniVit(SMALL), rows(8).texts, torch.zeros(8, 8).bool()
    optimiser = torch.optim.AdamW(tower.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(tower(pictures(8, 48)).embedding, texts, none, torch.tensor(20.0), 1.0)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    run = Run(rows(8), SMALL, FEW)
    run.advance()
    run.save(tmp_path / "run.pt")
    other = Run(rows(8), SMALL, FEW)
    other.load(tmp_path / "run.pt")
    assert other.step == 1
    assert [other.advance(), other.advance()] == pytest.approx([run.advance(), run.advance()])


def test_an_exported_tower_is_one_that_is_served(tmp_path: Path) -> None:
    """Tracing it takes seconds."""
    torch.manual_seed(0)
    (tmp_path / "README.md").write_text("kept")
    tower = MiniVit(SMALL)
    export(tower, tmp_path)
    picture = pictures(1)
    content = Content(image=Image.fromarray(picture[0].numpy()))
    for precision, least in (("float32", 0.99999), ("int8", 0.99)):
        served = TamisMini(folder=str(tmp_path), precision=precision)
        made = np.asarray(served.encode([content], Side.QUERY)[0].heads["dense"])
        assert float(made @ tower.eval()(picture).embedding[0].detach().numpy()) >= least
    assert (tmp_path / "README.md").read_text() == "kept"

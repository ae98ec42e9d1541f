"""Tokens that go inside a language model, against the authors' outputs and a plain prefill."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import golden_cases
from safetensors.numpy import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from tamis.models.keep_plan import left_at_the_end
from tamis.models.networks.pruned_prefill import Prefilled, prefill
from tamis.models.refiners import LayerRefiner, Seen
from tamis.models.refiners.context_compressor import ContextCompressor
from tamis.models.refiners.fastv import FastV
from tamis.models.refiners.mustdrop_prefill import MustDropPrefill, survivors
from tamis.models.refiners.pyramiddrop import PyramidDrop
from tamis.models.refiners.sparsevlm import SparseVLM
from tamis.models.types import VisualTokens

START, IMAGE, TEXT = 3, 24, 5


def visual(count: int, attention: np.ndarray | None = None) -> VisualTokens:
    if attention is None:
        attention = np.full(count, 1 / count)
    return VisualTokens(np.zeros((count, 1)), attention, np.arange(count), (1, count))


def llama(layers: int = 6, **more: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=50,
        max_position_embeddings=128,
        **more,
    )
    return LlamaForCausalLM(config).eval()  # type: ignore[no-untyped-call]


def embeds() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, START + IMAGE + TEXT, 32, generator=generator)


def run(refiner: LayerRefiner | None, attention: np.ndarray | None = None) -> Prefilled:
    return prefill(llama().model, embeds(), START, visual(IMAGE, attention), refiner)


@torch.no_grad()
@pytest.mark.parametrize("case", golden_cases("fastv"))
def test_fastv_does_what_the_authors_code_does(case: Path) -> None:
    config = json.loads((case / "config.json").read_text())
    inputs, outputs = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    model = LlamaForCausalLM(LlamaConfig(**config["llama"]))
    weights = load_file(case / "weights.safetensors")
    model.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    own = config["fastv"]
    start, count = own["fast_v_sys_length"], own["fast_v_image_token_length"]
    refiner = FastV(layer=own["fast_v_agg_layer"], budget=own["fast_v_attention_rank"])
    read = torch.from_numpy(inputs["inputs_embeds"])

    full = prefill(model.model, read, start, visual(count))
    assert full.states.numpy() == pytest.approx(outputs["full.last_hidden"], abs=1e-5)

    made = prefill(model.model, read, start, visual(count), refiner)
    assert made.positions.tolist() == outputs["kept_positions"].tolist()
    assert made.states.numpy() == pytest.approx(outputs["inplace.last_hidden"], abs=1e-5)
    logits = model.lm_head(made.states[:, -1])
    assert logits.numpy() == pytest.approx(outputs["inplace.logits_last"], abs=1e-5)


@pytest.mark.parametrize("case", golden_cases("mustdrop"))
def test_mustdrop_drops_what_the_authors_code_drops(case: Path) -> None:
    config = json.loads((case / "config.json").read_text())
    inputs, outputs = (load_file(case / f"{name}.safetensors") for name in ("inputs", "outputs"))
    system, image = config["system_tokens"], config["image_tokens"]
    keys = inputs["stage2.key_set"]
    importance = np.isin(np.arange(image), keys).astype(float)
    for name, (total, single) in config["thresholds"].items():
        refiner = MustDropPrefill(total=total, single=single, key_share=len(keys) / image)
        left, stays = np.arange(image), []
        for stage in range(config["stages"]):
            whole = inputs[f"stage2.attention{stage}"][0].mean(axis=0)
            expected = f"stage2.{name}.layer{stage}"
            rows = whole[system + image :, system + left]
            wanted = survivors(rows, total=total, single=single)
            assert wanted.tolist() == outputs[f"{expected}.filter_keep"].tolist()
            plan = refiner.keep(refiner.at[stage], Seen(visual(image, importance), left, rows))
            assert plan.kept.tolist() == outputs[f"{expected}.keep"].tolist()
            text = np.arange(config["text_tokens"])
            stays.append(
                np.concatenate([np.arange(system), system + plan.kept, system + len(left) + text])
            )
            left = left[plan.kept]
            assert left.tolist() == outputs[f"{expected}.original_indices"].tolist()
        for stage, indices in enumerate(left_at_the_end(stays)):
            assert indices.tolist() == outputs[f"stage3.{name}.cache_index{stage}"].tolist()


@torch.no_grad()
@pytest.mark.parametrize(
    "refiner",
    [
        None,
        FastV(ratio=0.0),
        PyramidDrop(stages=(1, 3), ratio=1.0),
        SparseVLM(at=(2, 3), budgets=(IMAGE, IMAGE)),
        MustDropPrefill(at=(1, 2), total=0.0, single=0.0),
        ContextCompressor(layer=2, stride=1),
    ],
    ids=str,
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_where_nothing_goes_it_is_a_plain_prefill(
    refiner: LayerRefiner | None, attention: str
) -> None:
    model = llama(attn_implementation=attention)
    expected = model.model(inputs_embeds=embeds(), use_cache=True)
    made = prefill(model.model, embeds(), START, visual(IMAGE), refiner)
    assert torch.allclose(made.states, expected.last_hidden_state, atol=1e-5)
    for ours, theirs in zip(made.cache.layers, expected.past_key_values.layers, strict=True):
        assert torch.allclose(ours.keys, theirs.keys, atol=1e-5)


@torch.no_grad()
def test_what_goes_is_as_if_it_had_been_masked_from_there_on() -> None:
    """Until layer 2 all tokens are seen; from there on nobody sees those that went."""
    made = run(FastV(budget=6))
    model, count = llama().model, START + IMAGE + TEXT
    gone = np.setdiff1d(START + np.arange(IMAGE), made.positions)
    states, lowest = embeds(), torch.finfo(torch.float32).min
    turns = model.rotary_emb(states, torch.arange(count)[None])
    for number, layer in enumerate(model.layers):
        mask = torch.full((count, count), lowest).triu(1)
        if number >= 2:
            mask[:, gone] = lowest
        states = layer(states, attention_mask=mask[None, None], position_embeddings=turns)
    assert torch.allclose(made.states, model.norm(states)[:, made.positions], atol=1e-5)
    assert made.counts == [count, count, *[count - IMAGE + 6] * 4]


def test_pyramiddrop_keeps_a_share_of_a_share() -> None:
    made = run(PyramidDrop(stages=(1, 3, 5), ratio=0.5))
    rest = START + TEXT
    assert made.counts == [rest + n for n in (24, 12, 12, 6, 6, 3)]
    assert set(made.left.tolist()) < set(range(IMAGE))


def test_sparsevlm_hears_the_words_that_look_at_the_image(rng: np.random.Generator) -> None:
    attention = rng.random((4, 9))
    attention[1] *= 0.01  # this word does not look
    plan = SparseVLM(budgets=(3, 2, 1)).keep(2, Seen(visual(9), np.arange(9), attention))
    raters = [i for i in range(4) if attention[i].sum() >= attention.sum(axis=1).mean()]
    best = np.argsort(-attention[raters].sum(axis=0))[:3]
    assert plan.kept.tolist() == sorted(best.tolist())


def test_the_compressor_averages_states_and_places() -> None:
    made = run(ContextCompressor(layer=2, stride=8))
    assert made.counts == [32, 32, *[START + 3 + TEXT] * 4]
    runs = [START + np.arange(8) + 8 * i for i in range(3)]
    assert made.positions[START : START + 3].tolist() == [int(run.mean()) for run in runs]


def test_mustdrop_trims_the_caches_of_early_layers() -> None:
    attention = np.zeros(IMAGE)
    attention[[4, 9]] = 0.5
    made = run(MustDropPrefill(at=(2, 4), total=9.0, single=9.0), attention)
    assert made.left.tolist() == [4, 9]
    assert [layer.keys.shape[2] for layer in made.cache.layers] == [START + 2 + TEXT] * 6
    keys = run(None).cache.layers[0].keys
    stays = [*range(START), START + 4, START + 9, *range(START + IMAGE, START + IMAGE + TEXT)]
    assert torch.allclose(made.cache.layers[0].keys, keys[:, :, stays])

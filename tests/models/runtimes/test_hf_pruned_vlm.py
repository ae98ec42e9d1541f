"""A LLaVA that answers from fewer tokens, against Hugging Face's own forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tiny_llava import IDS, IMAGE, START, VISUAL, llava, picture
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tamis.models import catalog
from tamis.models.errors import InputError, ModelError
from tamis.models.keep_plan import KeepPlan
from tamis.models.pruning import NOTHING, Place, Pruning, published
from tamis.models.refiners import LayerRefiner, Refiner, SelectRefiner, VisualRefiner
from tamis.models.refiners.divprune import DivPrune
from tamis.models.refiners.fastv import FastV
from tamis.models.refiners.identity import Identity
from tamis.models.refiners.mustdrop import MustDrop
from tamis.models.refiners.mustdrop_prefill import MustDropPrefill
from tamis.models.refiners.pyramiddrop import PyramidDrop
from tamis.models.refiners.uniform import Uniform
from tamis.models.runtimes.hf.pruned_vlm import PrunedVlm

VISUALS = [
    name
    for name in catalog.names(Refiner)
    if issubclass(catalog.find(Refiner, name), VisualRefiner)
]
EXACT = 1e-4


def logits(model: Any, pruning: Pruning) -> np.ndarray:
    vlm = PrunedVlm(model, pruning)
    return vlm.read(vlm.look(picture()), IDS).logits


def expected(model: Any) -> np.ndarray:
    made = model(input_ids=torch.tensor([IDS]), pixel_values=picture())
    last: np.ndarray = made.logits[0, -1].numpy()
    return last


def embeds(model: Any, more: list[int]) -> Tensor:
    """What the language model reads when nothing goes."""
    words = model.get_input_embeddings()(torch.tensor(IDS + more))
    (visual,) = model.get_image_features(picture()).pooler_output
    return torch.cat([words[:START], visual, words[START + VISUAL :]])


@contextmanager
def masked(model: Any, layer: int, gone: np.ndarray) -> Iterator[None]:
    """From a layer on nobody sees some of the tokens."""

    def hide(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        count = args[0].shape[1]
        mask = torch.full((count, count), torch.finfo(torch.float32).min).triu(1)
        mask[:, gone] = torch.finfo(torch.float32).min
        return args, kwargs | {"attention_mask": mask[None, None]}

    decoder = model.model.language_model
    hooks = [
        own.register_forward_pre_hook(hide, with_kwargs=True) for own in decoder.layers[layer:]
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("feature_layer", [-2, -1, 2])
def test_where_nothing_goes_it_is_the_model_itself(attention: str, feature_layer: int) -> None:
    model = llava(attention, vision_feature_layer=feature_layer)
    assert logits(model, NOTHING) == pytest.approx(expected(model), abs=EXACT)


@pytest.mark.parametrize("name", VISUALS)
@pytest.mark.parametrize("place", Place)
def test_a_budget_of_all_tokens_changes_nothing(name: str, place: Place) -> None:
    model = llava()
    visual = catalog.load(VisualRefiner, name, {"budget": VISUAL})
    made = logits(model, Pruning(visual=visual, place=place))
    assert made == pytest.approx(expected(model), abs=EXACT)


@pytest.mark.parametrize("name", VISUALS)
def test_every_visual_refiner_acts_where_its_paper_has_it(name: str) -> None:
    vlm = PrunedVlm(llava(), published(catalog.load(VisualRefiner, name, {"budget": 9})))
    seen = vlm.look(picture())
    assert len(seen.tokens) == VISUAL if name == "identity" else 1 <= len(seen.tokens) <= 9
    reading = vlm.read(seen, IDS)
    assert np.isfinite(reading.logits).all()
    assert reading.positions.tolist() == seen.tokens.positions.tolist()


@pytest.mark.parametrize("inside", [None, FastV(ratio=0.0), PyramidDrop(stages=(1, 3), ratio=1.0)])
def test_it_generates_what_the_model_generates(inside: LayerRefiner | None) -> None:
    model = llava()
    ids = torch.tensor([IDS])
    mask = torch.ones_like(ids)
    whole = model.generate(
        input_ids=ids,
        attention_mask=mask,
        pixel_values=picture(),
        max_new_tokens=8,
        do_sample=False,
    )
    vlm = PrunedVlm(model, Pruning(visual=Identity(), inside=inside))
    made = vlm.generate(vlm.look(picture()), IDS, 8, end_ids=[0])
    assert made == [token for token in whole[0, len(IDS) :].tolist() if token]
    assert len(made) > 1


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_left_stands_where_the_pruning_says(packed: bool) -> None:
    model = llava()
    vlm = PrunedVlm(model, Pruning(visual=Uniform(budget=10), packed=packed))
    seen = vlm.look(picture())
    made = vlm.generate(seen, IDS, 4)
    left = np.r_[0:START, START + seen.tokens.positions, START + VISUAL : len(IDS) + 3]
    positions = torch.arange(len(left)) if packed else torch.from_numpy(left)
    states = model.model.language_model(
        inputs_embeds=embeds(model, made[:3])[left][None], position_ids=positions[None]
    ).last_hidden_state
    told = model.lm_head(states[0, -4:]).argmax(-1)
    assert made == told.tolist()
    assert vlm.read(seen, IDS).logits == pytest.approx(
        model.lm_head(states[0, -4]).numpy(), abs=EXACT
    )


@pytest.mark.parametrize("layer", [1, 3, 5])
def test_fastv_is_as_if_tokens_were_masked_from_a_layer_on(layer: int) -> None:
    """Also for the tokens that are generated after them, from caches of two lengths."""
    model = llava()
    vlm = PrunedVlm(model, Pruning(inside=FastV(layer=layer, budget=5)))
    seen = vlm.look(picture())
    reading, made = vlm.read(seen, IDS), vlm.generate(seen, IDS, 5)
    gone = START + np.setdiff1d(np.arange(VISUAL), reading.positions)
    assert len(gone) == VISUAL - 5
    with masked(model, layer, gone):
        states = model.model.language_model(
            inputs_embeds=embeds(model, made[:4])[None]
        ).last_hidden_state
    assert reading.logits == pytest.approx(model.lm_head(states[0, -5]).numpy(), abs=EXACT)
    assert made == model.lm_head(states[0, -5:]).argmax(-1).tolist()


def test_tokens_that_go_in_the_tower_are_not_in_its_later_layers() -> None:
    model, after = llava(), 1
    vlm = PrunedVlm(model, Pruning(visual=DivPrune(budget=7), place=Place.TOWER, after=after))
    seen = vlm.look(picture())
    tower = model.model.vision_tower
    states = tower(picture(), output_hidden_states=True).hidden_states[after + 1]
    states = states[:, [0, *(1 + seen.tokens.positions)]]
    for layer in tower.encoder.layers[after + 1 : -1]:
        states = layer(states, attention_mask=None)
    projected = model.model.multi_modal_projector(states[:, 1:])[0]
    assert seen.tokens.embeddings == pytest.approx(projected.numpy(), abs=EXACT)
    assert seen.tokens.attention.sum() == pytest.approx(1)


class Spy(SelectRefiner):
    """Keeps what it was given."""

    def select(self, tokens: Any) -> np.ndarray:
        object.__setattr__(self, "seen", tokens)
        return np.arange(self.budget)


@pytest.mark.parametrize(("place", "layer"), [(Place.TOWER, 0), (Place.ENCODED, 2)])
def test_refiners_see_the_attention_of_the_class_token(place: Place, layer: int) -> None:
    model, spy = llava("eager"), Spy(budget=4)
    PrunedVlm(model, Pruning(visual=spy, place=place, after=0)).look(picture())
    seen = vars(spy)["seen"]
    told = model.model.vision_tower(picture(), output_attentions=True, output_hidden_states=True)
    given = told.attentions[layer][0, :, 0, 1:].mean(0).numpy()
    assert seen.attention == pytest.approx(given / given.sum(), abs=1e-6)
    assert seen.embeddings == pytest.approx(told.hidden_states[layer + 1][0, 1:].numpy(), abs=1e-5)
    assert seen.grid == (6, 6)


def test_all_of_mustdrop_at_once() -> None:
    """Windows merge in the tower, tokens go in the prefill, and early caches are trimmed."""
    must = MustDrop(budget=20, similarity=-1.0)
    inside = MustDropPrefill(at=(1, 3), total=9.0, single=9.0, key_share=0.2)
    vlm = PrunedVlm(llava(), published(must, inside))
    seen = vlm.look(picture())
    assert len(seen.tokens) == 4  # of a grid of 6 x 6, windows of 3 x 3
    reading = vlm.read(seen, IDS)
    best = np.argsort(-seen.tokens.attention, kind="stable")[:1]
    assert reading.positions.tolist() == seen.tokens.positions[best].tolist()
    around = len(IDS) - VISUAL
    assert [layer.keys.shape[2] for layer in reading.prefilled.cache.layers] == [around + 1] * 6
    assert len(vlm.generate(seen, IDS, 3)) == 3


@pytest.mark.parametrize(
    "pruning",
    [
        NOTHING,
        Pruning(visual=Uniform(budget=10)),
        Pruning(visual=DivPrune(budget=10), place=Place.TOWER, after=0),
        Pruning(visual=Uniform(budget=20), place=Place.ENCODED, inside=FastV(budget=6)),
        Pruning(inside=MustDropPrefill(at=(2, 4), total=9.0, single=9.0)),
    ],
    ids=["nothing", "uniform", "tower", "both", "words"],
)
def test_the_formula_counts_what_torch_counts(pruning: Pruning) -> None:
    """Torch counts a plan too, whose map is a matrix there, of the states and the positions."""
    vlm = PrunedVlm(llava("eager"), pruning)
    with FlopCounterMode(display=False) as counter:
        seen = vlm.look(picture())
        reading = vlm.read(seen, IDS)
    mapped = 0
    if pruning.inside is not None:
        assert reading.flops.probes > 0
        counts, around = reading.prefilled.counts, len(IDS) - VISUAL
        for before, count in pairwise(counts):
            mapped += 2 * (before - around) * (count - around) * 33 if count < before else 0
    ours = seen.flops.total + reading.flops.total
    assert ours + mapped == pytest.approx(counter.get_total_flops(), rel=1e-3)


def test_the_formula_counts_what_the_model_itself_takes() -> None:
    model = llava("eager", vision_feature_layer=-1)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.tensor([IDS]), pixel_values=picture(), logits_to_keep=1)
    vlm = PrunedVlm(model)
    seen = vlm.look(picture())
    reading = vlm.read(seen, IDS)
    ours = seen.flops.tower + seen.flops.projector + reading.flops.language
    assert ours == counter.get_total_flops()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS[:-9], f"with {VISUAL - 5} image tokens"),
        ([1, *[IMAGE] * (VISUAL - 1), 4, 5], f"with {VISUAL - 1} image tokens"),
        ([1, IMAGE, 4, *[IMAGE] * (VISUAL - 1), 5], "in one run"),
        ([1, *[IMAGE] * VISUAL], "ends with its picture"),
    ],
)
def test_a_prompt_must_have_its_picture_in_one_place(ids: list[int], message: str) -> None:
    vlm = PrunedVlm(llava())
    seen = vlm.look(picture())
    with pytest.raises(InputError, match=message):
        vlm.read(seen, ids)


@pytest.mark.parametrize(
    ("pruning", "message"),
    [
        (Pruning(inside=FastV(layer=6)), "layers 0 to 5"),
        (Pruning(visual=Identity(), place=Place.TOWER, after=3), "2 is the last"),
    ],
)
def test_layers_that_are_not_there_are_refused(pruning: Pruning, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        PrunedVlm(llava(), pruning)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vision_feature_select_strategy": "full"}, r"keeps \[CLS\]"),
        ({"vision_feature_layer": [-2, -1]}, "several layers"),
    ],
)
def test_other_models_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        PrunedVlm(llava(**config))


def test_plans_of_the_projector_keep_the_tower_s_attention() -> None:
    vlm = PrunedVlm(llava(), Pruning(visual=Uniform(budget=10)))
    kept = vlm.look(picture()).tokens
    whole = PrunedVlm(llava()).look(picture()).tokens
    plan = KeepPlan.of_selected(kept.positions)
    assert kept.attention == pytest.approx(plan.apply(whole).attention)

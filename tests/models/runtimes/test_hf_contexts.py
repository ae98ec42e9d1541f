"""Compressed caches that a network goes on from, against kvpress and against masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from golden import golden_cases
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from tamis.models import catalog
from tamis.models.contexts.artefact import Artefact
from tamis.models.contexts.key_values import KeyValues, compressed
from tamis.models.errors import InputError, ModelError
from tamis.models.kv import LayerCache
from tamis.models.refiners import KVRefiner, Refiner
from tamis.models.refiners.keydiff import KeyDiff
from tamis.models.refiners.streaming_llm import StreamingLLM
from tamis.models.runtimes.hf.contexts import ContextModel, to_hf
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.hf.prefill import prefill

hub: Any = transformers
PRESSES = [
    name for name in catalog.names(Refiner) if issubclass(catalog.find(Refiner, name), KVRefiner)
]
# kvpress's names of the settings, and ours.
OURS = {
    "n_future_positions": "future",
    "n_sink": "sinks",
    "use_covariance": "covariance",
    "use_vnorm": "value_norm",
    "window_size": "window",
    "kernel_size": "kernel",
}
SIZES: dict[str, Any] = {
    "vocab_size": 80,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.5,  # so that attention is not even
}
CONTEXT: list[int] = np.random.default_rng(3).permutation(80)[:30].tolist()
QUESTION = torch.tensor([[7, 70, 17, 3]])


def network(kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    made = {
        "llama": lambda: hub.LlamaForCausalLM(hub.LlamaConfig(**SIZES, **more)),
        "qwen3": lambda: hub.Qwen3ForCausalLM(hub.Qwen3Config(**SIZES, head_dim=16, **more)),
        "gemma3": lambda: hub.Gemma3ForCausalLM(
            hub.Gemma3TextConfig(
                **SIZES, head_dim=16, query_pre_attn_scalar=9, sliding_window=8,
                sliding_window_pattern=2, **more,
            )
        ),
        "cohere": lambda: hub.CohereForCausalLM(hub.CohereConfig(**SIZES, **more)),
        "gpt2": lambda: hub.GPT2LMHeadModel(hub.GPT2Config(n_embd=32, n_layer=2, n_head=4)),
    }  # fmt: skip
    return made[kind]().eval().requires_grad_(False)


def kept(of: Any, press: KVRefiner) -> KeyValues:
    return compressed(prefill(of, CONTEXT), len(CONTEXT), press)


def logits(of: Any, cache: KeyValues, question: torch.Tensor = QUESTION) -> np.ndarray:
    found: np.ndarray = of(question, past_key_values=to_hf(cache, of)).logits[0].numpy()
    return found


@pytest.mark.parametrize("case", golden_cases("kvpress"))
def test_a_compressed_cache_answers_as_kvpresss_does(case: Path) -> None:
    """Whose question goes on at T, in original positions; ours at n, turned back, says the same."""
    config = json.loads((case / "config.json").read_text())
    inputs, outputs = (
        load_file(case / "inputs.safetensors"),
        load_file(case / "outputs.safetensors"),
    )
    llama = hub.LlamaForCausalLM(hub.LlamaConfig(**config["llama"])).eval().requires_grad_(False)
    llama.load_state_dict(load_torch(case / "weights.safetensors"))
    (ids,), question = inputs["input_ids"].tolist(), torch.from_numpy(inputs["question_ids"])
    layers = prefill(llama, ids)
    whole = compressed(layers, len(ids), StreamingLLM(ratio=0.0))
    expected = outputs["full.question_logits"][0]
    assert logits(llama, whole, question) == pytest.approx(expected, abs=1e-5)
    for name, table in config["presses"].items():
        settings = {OURS.get(key, key): value for key, value in table.items()}
        for ratio in config["ratios"]:
            press = catalog.load(KVRefiner, name, {"ratio": ratio, **settings})
            cache = compressed(layers, len(ids), press)
            expected = outputs[f"{name}.r{ratio}.question_logits"][0]
            assert logits(llama, cache, question) == pytest.approx(expected, abs=1e-5)
            assert logits(llama, cache.shifted(), question) == pytest.approx(expected, abs=1e-5)


ROPES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("qwen3", {}),
    ("llama", {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
    ("llama", {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4,
               "original_max_position_embeddings": 64}),
    ("llama", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "rope_theta": 1e4,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
]  # fmt: skip


@pytest.mark.parametrize("name", PRESSES)
@pytest.mark.parametrize(("kind", "rope"), ROPES)
def test_moving_a_cache_changes_no_answer(kind: str, rope: dict[str, Any], name: str) -> None:
    """Against a plain cache whose question is told where it stands."""
    of = network(kind, **({"rope_parameters": rope} if rope else {}))
    cache = kept(of, catalog.load(KVRefiner, name, {"ratio": 0.5}))
    plain = hub.DynamicCache(
        [
            tuple(torch.from_numpy(part)[None] for part in (one.keys, one.values))
            for one in cache.layers
        ]
    )
    positions = torch.arange(4)[None] + len(CONTEXT)
    expected = of(QUESTION, past_key_values=plain, position_ids=positions).logits[0].numpy()
    scale = np.abs(expected).max()
    assert logits(of, cache) / scale == pytest.approx(expected / scale, abs=1e-5)
    assert logits(of, cache.shifted()) / scale == pytest.approx(expected / scale, abs=1e-5)
    packed = logits(of, cache.packed()) / scale
    assert np.abs(packed - expected / scale).max() > 1e-3  # which is why one shifts


@pytest.mark.parametrize(("kind", "rope"), [*ROPES, ("gemma3", {})])
def test_what_presses_see_is_the_networks_attention(kind: str, rope: dict[str, Any]) -> None:
    of = network(kind, **({"rope_parameters": rope} if rope else {}))
    of.set_attn_implementation("eager")
    told = of(torch.tensor([CONTEXT]), output_attentions=True).attentions
    for layer, attention in zip(prefill(of, CONTEXT), told, strict=True):
        if isinstance(layer, LayerCache):
            assert layer.attention(20) == pytest.approx(attention[0, :, -20:].numpy(), abs=1e-5)


def masked(of: Any, places: np.ndarray) -> np.ndarray:
    """The question's logits in one pass, where it sees of the context `places` only."""
    total = len(CONTEXT) + QUESTION.shape[1]
    seen = np.tril(np.ones((total, total), dtype=bool))
    near = seen & ~np.tril(seen, -8)  # Gemma's windows
    seen[len(CONTEXT) :, np.setdiff1d(np.arange(len(CONTEXT)), places)] = False
    masks = {
        name: torch.from_numpy(np.where(mask, 0, -np.inf).astype(np.float32))[None, None]
        for name, mask in (("full_attention", seen), ("sliding_attention", near))
    }
    mask = masks if of.config.model_type == "gemma3_text" else masks["full_attention"]
    ids = torch.cat([torch.tensor([CONTEXT]), QUESTION], dim=1)
    found: np.ndarray = of(ids, attention_mask=mask).logits[0, len(CONTEXT) :].numpy()
    return found


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9])
def test_what_was_dropped_is_as_if_masked(kind: str, ratio: float) -> None:
    of = network(kind)
    cache = kept(of, StreamingLLM(ratio=ratio, sinks=2))
    (places,) = {tuple(one.positions[0]) for one in cache.layers if not one.window}
    expected = masked(of, np.array(places))
    assert logits(of, cache) == pytest.approx(expected, abs=2e-4)
    if kind == "gemma3" and ratio == 0.9:
        with pytest.raises(InputError, match="has a window with 7 tokens in it, and 2 are kept"):
            cache.shifted()
    else:
        assert logits(of, cache.shifted()) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3"])
def test_an_answer_is_generated_from_it(kind: str) -> None:
    """The same by the context's own ids, by placeholders, and token by token."""
    of = network(kind)
    cache = kept(of, KeyDiff(ratio=0.5))
    rules = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}

    def answer(cache: KeyValues, before: list[int]) -> list[int]:
        ids = torch.cat([torch.tensor([before]), QUESTION], dim=1)
        made = of.generate(
            ids, attention_mask=torch.ones_like(ids), past_key_values=to_hf(cache, of), **rules
        )
        tokens: list[int] = made[0, ids.shape[1] :].tolist()
        return tokens

    expected, state, read = [], to_hf(cache, of), QUESTION
    for _ in range(5):
        read = of(read, past_key_values=state).logits[:, -1:].argmax(-1)
        expected.append(int(read))
    assert answer(cache, CONTEXT) == expected
    assert answer(cache.shifted(), [0] * cache.kept) == expected


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("gpt2", {}, "gpt2: not built as Llama is"),
        ("cohere", {}, "cohere: layer 0: its keys are not turned as Llama turns them"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
         "llama: keys turned by 'dynamic' in 8 of 8 dimensions"),
    ],
)  # fmt: skip
def test_a_network_of_another_kind_is_refused(
    kind: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        prefill(network(kind, **more), CONTEXT)


def test_a_cache_of_other_layers_is_refused() -> None:
    cache = kept(network("llama"), KeyDiff())
    with pytest.raises(InputError, match="layer 0: a window of 0; there it is 8"):
        to_hf(cache, network("gemma3"))
    with pytest.raises(InputError, match="a context of 3 layers; there are 4"):
        to_hf(KeyValues(cache.layers[:3], cache.tokens), network("llama"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ContextModel:
    return ContextModel(Checkpoint(model=str(tiny_models.llama(tmp_path_factory.mktemp("llama")))))


def test_a_context_is_written_sent_and_resumed(model: ContextModel) -> None:
    written = model.write("the quick brown fox", KeyDiff(ratio=0.25), documents=["ab"])
    found = Artefact.from_bytes(written.to_bytes())
    assert isinstance(found.payload, KeyValues)
    state = model.resume(found)
    assert state.get_seq_length() == found.payload.tokens
    told = found.provenance
    assert (told.model, told.method, told.settings) == ("llama", "keydiff", {"ratio": 0.25})
    assert told.documents == ("ab",)


def test_another_models_context_is_refused(model: ContextModel, tmp_path: Path) -> None:
    other = ContextModel(Checkpoint(model=str(tiny_models.gemma3(tmp_path))))
    written = model.write("two kites", KeyDiff())
    with pytest.raises(
        InputError, match=r"the context's model is 'llama'; this model's is 'gemma3"
    ):
        other.resume(written)
    with pytest.raises(InputError, match="the context is not a key-value cache"):
        model.resume(Artefact("two kites"))


def test_a_text_that_is_too_long_is_refused(model: ContextModel) -> None:
    with pytest.raises(InputError, match=r"a context of \d+ tokens; the model reads from 1 to"):
        model.write("a red bicycle " * 2000, KeyDiff())

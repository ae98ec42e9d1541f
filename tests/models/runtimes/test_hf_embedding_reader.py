"""Passages as embeddings, against a decoding loop without cache over a tiny Mistral."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import SIZES, tokenizer
from torch import Tensor
from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

from tamis.models.errors import InputError, ModelError
from tamis.models.networks.pe_rank import Projector
from tamis.models.runtimes.hf.embedding_reader import HfEmbeddingReader
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.language import Message, Prompt
from tamis.models.runtimes.ordering import PLACEHOLDER

DIM, COUNT = 6, 5
TEXT = f"Rank: [{PLACEHOLDER}] a fox [{PLACEHOLDER}][{PLACEHOLDER}] two [{PLACEHOLDER}]"
TEXT += f" [{PLACEHOLDER}] by a kite"


def mistral(folder: Path) -> Path:
    torch.manual_seed(8)
    sizes = SIZES | {"initializer_range": 0.1}
    MistralForCausalLM(MistralConfig(**sizes, num_key_value_heads=2)).save_pretrained(folder)
    tokenizer(before="<s>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = mistral(tmp_path_factory.mktemp("models") / "mistral")
    weights = Projector(DIM, SIZES["hidden_size"]).layers.state_dict()
    save_file({f"model.projector.{n}": w for n, w in weights.items()}, folder / "mlp.safetensors")
    return folder


@pytest.fixture
def embeddings(rng: np.random.Generator) -> np.ndarray:
    vectors = rng.normal(size=(COUNT, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def naive(folder: Path, embeddings: np.ndarray) -> list[int]:
    """All is read again at each step; the best product with the last state among those left."""
    network = MistralForCausalLM.from_pretrained(folder)
    reader = HfEmbeddingReader(Checkpoint(model=str(folder)))
    ids = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        passages: Tensor = reader._projector(torch.from_numpy(embeddings))
        table = network.get_input_embeddings()
        rows = [table(torch.tensor([1]))]
        for i, part in enumerate(TEXT.split(PLACEHOLDER)):
            rows += [passages[i - 1 : i]] if i else []
            rows.append(table(torch.tensor(ids(part, add_special_tokens=False).input_ids)))
        order: list[int] = []
        while len(order) < COUNT:
            told = torch.cat([*rows, *(passages[i : i + 1] for i in order)])
            state = network.model(inputs_embeds=told[None], use_cache=False).last_hidden_state
            logits = state[0, -1] @ passages.T
            left = [i for i in range(COUNT) if i not in order]
            order.append(max(left, key=lambda i: float(logits[i])))
    return order


def test_the_order_is_that_of_a_loop_without_cache(folder: Path, embeddings: np.ndarray) -> None:
    reader = HfEmbeddingReader(Checkpoint(model=str(folder)))
    assert reader.dim == DIM
    expected = naive(folder, embeddings)
    assert reader.order(Prompt(text=TEXT), embeddings) == expected
    other = reader.order(Prompt(text=TEXT), embeddings[::-1])
    assert sorted(other) == list(range(COUNT))
    assert reader.order(Prompt(text=TEXT), embeddings) == expected, "a request leaves no trace"


def test_the_vectors_are_what_it_reads(folder: Path, embeddings: np.ndarray) -> None:
    """Passages in other places are still told apart: the order is not one of places alone."""
    reader = HfEmbeddingReader(Checkpoint(model=str(folder)))
    first = [reader.order(Prompt(text=TEXT), np.roll(embeddings, n, axis=0))[0] for n in range(5)]
    assert len({*first}) > 1


def test_a_conversation_is_rendered_by_the_model_s_template(
    folder: Path, embeddings: np.ndarray
) -> None:
    reader = HfEmbeddingReader(Checkpoint(model=str(folder)))
    order = reader.order(Prompt(messages=(Message("user", TEXT),)), embeddings)
    assert sorted(order) == list(range(COUNT))


def test_the_places_must_be_as_many_as_the_passages(folder: Path, embeddings: np.ndarray) -> None:
    reader = HfEmbeddingReader(Checkpoint(model=str(folder)))
    with pytest.raises(InputError, match="5 places in the prompt for 4 passages"):
        reader.order(Prompt(text=TEXT), embeddings[:4])
    with pytest.raises(InputError, match="the model reads 256"):
        reader.order(Prompt(text="fox " * 300 + TEXT), embeddings)


def test_a_checkpoint_without_projector_is_refused(tmp_path: Path) -> None:
    mistral(tmp_path)
    with pytest.raises(ModelError, match=r"has no projector\.0\.weight"):
        HfEmbeddingReader(Checkpoint(model=str(tmp_path)))

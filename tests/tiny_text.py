"""Text towers for tests: random weights in Hugging Face's files, and a tokenizer that spells."""

import json
import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

BERT = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
KINDS: dict[str, tuple[Any, Any]] = {
    "bert": (BertConfig, BertModel),
    "roberta": (RobertaConfig, RobertaModel),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaModel),
}
WIDTH = 24


def tiny_text(folder: Path, kind: str = "bert", *, seed: int = 0, layers: int = 1) -> Path:
    """Writes a tower's folder: config.json, model.safetensors and tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    model(kind, seed=seed, layers=layers).save_pretrained(folder)
    rules(kind).save(str(folder / "tokenizer.json"))
    return folder


def model(kind: str = "bert", *, seed: int = 0, layers: int = 1) -> PreTrainedModel:
    """The tower itself, with weights large enough that an error would be seen."""
    torch.manual_seed(seed)
    config, network = KINDS[kind]
    pad = 0 if kind == "bert" else 1
    made = network(
        config(
            vocab_size=len(vocabulary(kind)),
            hidden_size=WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=3,
            intermediate_size=40,
            max_position_embeddings=40,
            type_vocab_size=2 if kind == "bert" else 1,
            initializer_range=0.5,
            pad_token_id=pad,
        )
    )
    made.train(mode=False)
    return made


def vocabulary(kind: str) -> list[str]:
    """A kind's special tokens, punctuation, and letters to spell with."""
    return [*(BERT if kind == "bert" else ROBERTA), *string.punctuation, *WORDS]


def rules(kind: str) -> Tokenizer:
    """A tokenizer that spells words, between its kind's first and last token."""
    ids = {word: i for i, word in enumerate(vocabulary(kind))}
    first, last, unknown = (
        ("[CLS]", "[SEP]", "[UNK]") if kind == "bert" else ("<s>", "</s>", "<unk>")
    )
    made = Tokenizer(WordPiece(ids, unk_token=unknown))
    made.normalizer = BertNormalizer(lowercase=True)
    made.pre_tokenizer = BertPreTokenizer()
    between = last if kind == "bert" else f"{last} {last}"
    made.post_processor = TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {between} $B:1 {last}:1",
        special_tokens=[(first, ids[first]), (last, ids[last])],
    )
    made.add_special_tokens(BERT if kind == "bert" else ROBERTA)
    return made


def sentence_transformers(folder: Path, *steps: dict[str, Any]) -> Path:
    """Writes `modules.json` beside a tower, and a folder with a `config.json` for each step."""
    rows = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, step in enumerate(steps, 1):
        config = dict(step)
        kind = config.pop("kind")
        path = folder / f"{number}_{kind}"
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))
        rows.append({"idx": number, "name": str(number), "path": path.name,
                     "type": f"sentence_transformers.models.{kind}"})  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(rows))
    return folder

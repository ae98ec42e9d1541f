"""Checkpoints of a few kilobytes with random weights, in the layout of a model hub."""

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

hub: Any = transformers  # whose types its own configurations do not keep to
TEXT = [
    "the quick brown fox jumps over the lazy dog",
    "Query: what does a fox do? Document: it jumps. Relevant: true false",
    "Passage A: a red bicycle. Passage B: two kites. Output Yes or No",
]
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKS = ["<pad>", "<s>", "</s>", "<image>", "<|user|>", "<|system|>", "<|assistant|>"]


def tokenizer(*, before: str = "", after: str = "") -> Any:
    """Byte-level BPE of some 400 tokens, with marks before and after a text."""
    own = tokenizers.Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*MARKS, "<extra_id_10>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    own.train_from_iterator(TEXT, trainer)
    if before or after:
        around = [(mark, own.token_to_id(mark)) for mark in (before, after) if mark]
        own.post_processor = processors.TemplateProcessing(
            single=f"{before} $A {after}".strip(), special_tokens=around
        )
    return hub.PreTrainedTokenizerFast(
        tokenizer_object=own,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT,
    )


SIZES: dict[str, Any] = {
    "vocab_size": 416,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def llama(folder: Path) -> Path:
    torch.manual_seed(1)
    network = hub.LlamaForCausalLM(hub.LlamaConfig(**SIZES, num_key_value_heads=2))
    return _saved(folder, network, tokenizer(before="<s>"))


def gpt2(folder: Path) -> Path:
    """Positions are learned, and no token begins a text."""
    torch.manual_seed(2)
    config = hub.GPT2Config(vocab_size=416, n_embd=32, n_layer=2, n_head=4, n_positions=256)
    config.bos_token_id = config.eos_token_id = 2
    return _saved(folder, hub.GPT2LMHeadModel(config), tokenizer())


def gemma3(folder: Path) -> Path:
    """Every other layer looks back at 8 tokens only."""
    torch.manual_seed(3)
    config = hub.Gemma3TextConfig(
        **SIZES, num_key_value_heads=2, head_dim=8, sliding_window=8, sliding_window_pattern=2
    )
    return _saved(folder, hub.Gemma3ForCausalLM(config), tokenizer(before="<s>"))


def t5(folder: Path, *, layers: int = 2) -> Path:
    torch.manual_seed(4)
    config = hub.T5Config(
        vocab_size=416, d_model=32, d_kv=8, d_ff=48, num_layers=layers, num_heads=4,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=2,
    )  # fmt: skip
    return _saved(folder, hub.T5ForConditionalGeneration(config), tokenizer(after="</s>"))


def llama_classifier(folder: Path, *, labels: int = 1) -> Path:
    torch.manual_seed(5)
    config = hub.LlamaConfig(**SIZES, num_key_value_heads=2, num_labels=labels)
    return _saved(folder, hub.LlamaForSequenceClassification(config), tokenizer(before="<s>"))


def llava(folder: Path) -> Path:
    torch.manual_seed(6)
    vision = hub.CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        image_size=28, patch_size=14,
    )  # fmt: skip
    config = hub.LlavaConfig(
        vision_config=vision,
        text_config=hub.LlamaConfig(**SIZES, num_key_value_heads=2),
        image_token_index=MARKS.index("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    reader = hub.CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    own = tokenizer(before="<s>")
    own.add_special_tokens({"additional_special_tokens": ["<image>"]})
    hub.LlavaProcessor(
        image_processor=reader, tokenizer=own, patch_size=14, chat_template=CHAT,
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return _saved(folder, hub.LlavaForConditionalGeneration(config), own)


def bert_classifier(folder: Path, *, labels: int = 2) -> Path:
    torch.manual_seed(7)
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    own = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    own.normalizer = tokenizers.normalizers.BertNormalizer()
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(special_tokens=marks, vocab_size=200, show_progress=False)
    )
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    fast = hub.PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        unk_token="[UNK]", model_max_length=64,
    )  # fmt: skip
    config = hub.BertConfig(
        vocab_size=200, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, num_labels=labels,
    )  # fmt: skip
    return _saved(folder, hub.BertForSequenceClassification(config), fast)


def _saved(folder: Path, network: Any, own: Any) -> Path:
    with torch.no_grad():
        for parameter in network.parameters():  # far from 0, so that nothing agrees by chance
            parameter.mul_(4)
    network.save_pretrained(folder)
    own.save_pretrained(folder)
    return folder

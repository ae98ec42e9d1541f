"""Opens checkpoints: a folder, or a model hub's id when it is no folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from tamis.models.errors import ModelError
from tamis.models.export import checkpoint as export
from tamis.models.export import lora
from tamis.models.runtimes.texts import Texts

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a model's weights are, and how they are run.

    Attributes:
        model: A folder, or a hub's id.
        revision: Of the hub's repository.
        file: A GGUF file in the folder; empty for safetensors.
        adapter: A folder with a LoRA adapter, which is merged into the weights; empty for none.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: ``cpu``, ``cuda`` or the like; empty for a GPU where there is one.
        room: Tokens that one run reads, padding included, which bounds its memory.
        cache_bytes: Attention states of prefixes that are kept from call to call, in bytes.
        max_tokens: Of prompt and answer together; 0 for the model's own limit.
    """

    model: str
    revision: str = "main"
    file: str = ""
    adapter: str = ""
    dtype: str = "float32"
    device: str = ""
    room: int = 8_192
    cache_bytes: int = 256 << 20
    max_tokens: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.room < 1 or self.cache_bytes < 0 or self.max_tokens < 0:
            raise ValueError("room must be at least 1, cache_bytes and max_tokens at least 0")

    @property
    def where(self) -> str:
        """The device's name."""
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    def built(self) -> str:
        """How the network is built: ``decoder``, ``encoder_decoder`` or ``vision``."""
        if self.file:
            return "decoder"
        config = self._opened(AutoConfig)
        if config.is_encoder_decoder:
            return "encoder_decoder"
        return "vision" if hasattr(config, "vision_config") else "decoder"

    def network(self, kind: Any) -> Any:
        """The weights in a network of `kind`, such as `AutoModelForCausalLM`, ready to run.

        No code of the checkpoint runs, and no pickle is opened.
        """
        safe: dict[str, Any] = {} if self.file else {"use_safetensors": True}
        network = self._opened(kind, dtype=DTYPES[self.dtype], **safe)
        if self.adapter:
            network.load_state_dict(self._adapted(network.state_dict()))
        return network.eval().requires_grad_(False).to(self.where)

    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer with its chat template."""
        return self._opened(AutoTokenizer)

    def processor(self) -> Any:
        """Tokenizer and image transform of a model that sees."""
        from transformers import AutoProcessor  # brings torchvision's or pillow's transforms

        return self._opened(AutoProcessor)

    def _adapted(self, base: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The weights with the adapter's product added, and what it brings whole in its place.

        Raises:
            ModelError: The adapter is missing or damaged, or adapts what is not there.
        """
        adapter = export.Checkpoint.open(self.adapter)
        tensors = export.read_tensors(adapter.folder / lora.WEIGHTS)
        factors = {key: own for key, own in tensors.items() if lora.FACTOR.match(key)}
        merged = lora.merge(base, factors, adapter.table(lora.CONFIG), str)
        for key in tensors.keys() - factors.keys():
            name = lora.SAVED.sub(".", key.removeprefix(lora.PREFIX))
            if name not in base:
                raise ModelError(f"{self.adapter}: {key}: unknown: the base has no such weight")
            merged[name] = tensors[key]
        return merged

    def _opened(self, kind: Any, **more: Any) -> Any:
        # A server's output is its log.
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        source: Mapping[str, Any] = {"gguf_file": self.file} if self.file else {}
        local = Path(self.model).is_dir()
        try:
            return kind.from_pretrained(
                self.model,
                **({} if local else {"revision": self.revision}),
                local_files_only=local,
                trust_remote_code=False,
                **source,
                **more,
            )
        except Exception as error:  # transformers raises what its parts raise
            raise ModelError(f"{self.model}: cannot be opened: {error}") from error


@dataclass(frozen=True)
class Reading:
    """How prompts become ids.

    Attributes:
        texts: The tokenizer's rules.
        tokenizer: The same with its chat template.
        padding_id: What fills rows; it is masked, so any token does.
        end_ids: What ends an answer.
    """

    texts: Texts
    tokenizer: Any
    padding_id: int
    end_ids: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, tokenizer: Any, network: Any) -> "Reading":
        """Of a checkpoint's parts.

        Raises:
            ModelError: The tokenizer is written in Python.
        """
        fast = getattr(tokenizer, "backend_tokenizer", None)
        if fast is None:
            raise ModelError(f"{tokenizer.name_or_path}: has no tokenizer.json")
        starts = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [
            tokenizer.bos_token_id
        ]
        texts = Texts.of(fast.to_str(), start_token=tokenizer.bos_token if starts else None)
        ends = network.generation_config.eos_token_id if network.can_generate() else None
        ends = ends if ends is not None else tokenizer.eos_token_id
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        padding = tokenizer.pad_token_id
        return cls(texts, tokenizer, padding if padding is not None else 0, tuple(ends))

"""A language model behind an OpenAI-compatible HTTP endpoint, such as vLLM's.

For models that are too large for this server. Conversations and images go to `chat/completions`,
texts to `completions`. An endpoint tells log-probabilities of its likeliest tokens, not logits, and
has its own tokenizer: without a copy of it, tokens are counted by their bytes.

Speaks to the one address that the settings name, in as many connections as they allow.
"""

import base64
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from jaxtyping import Float
from PIL.Image import Image

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.texts import Texts, up_to
from tamis.models.runtimes.usage import spend

BYTES_A_TOKEN = 4  # of English, and a bound on the safe side for most other scripts
SPACES = " \u2581\u0120"  # how vocabularies write the space before a word

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the model is, and how it is asked.

    Attributes:
        url: Up to and with the version: ``http://localhost:8000/v1``.
        model: Its name there.
        key_variable: The environment variable that holds the key; empty for none.
        tokenizer: A folder with the model's `tokenizer.json`; empty to count bytes.
        max_tokens: Of a prompt and its answer together.
        likeliest: How many log-probabilities are asked for; endpoints allow some 20.
        sees: Whether it reads images.
        connections: Prompts that are on their way at once.
        timeout_s: How long one prompt may take, in seconds.
    """

    url: str
    model: str
    key_variable: str = ""
    tokenizer: str = ""
    max_tokens: int = 4_096
    likeliest: int = 20
    sees: bool = False
    connections: int = 16
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, not {self.url!r}")
        if self.connections < 1 or self.likeliest < 1:
            raise ValueError("connections and likeliest must be at least 1")


@dataclass
class OpenAIEndpoint:
    """A `LanguageModel` at an `Endpoint`. Several threads may use it at once."""

    endpoint: Endpoint
    _words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        said, headers = self.endpoint, {}
        if said.key_variable:
            if not (key := os.environ.get(said.key_variable)):
                raise ModelError(f"the environment variable {said.key_variable} is not set")
            headers["authorization"] = f"Bearer {key}"
        limits = httpx.Limits(max_connections=said.connections)
        self._client = httpx.Client(
            base_url=said.url, headers=headers, timeout=said.timeout_s, limits=limits
        )
        self._threads = ThreadPoolExecutor(said.connections, "endpoint")
        self._texts: Texts | None = None
        if said.tokenizer:
            path = Path(said.tokenizer) / "tokenizer.json"
            try:
                self._texts = Texts.of(path.read_text(encoding="utf-8"))
            except OSError as error:
                raise ModelError(f"{path}: cannot be read: {error.strerror}") from error

    def __enter__(self) -> "OpenAIEndpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back. A server keeps them as long as it runs."""
        self._threads.shutdown(cancel_futures=True)
        self._client.close()

    @property
    def reads_images(self) -> bool:
        return self.endpoint.sees

    @property
    def max_tokens(self) -> int:
        return self.endpoint.max_tokens

    def token_ids(self, text: str) -> list[int]:
        """Numbers of this client's own: the endpoint is asked by words, so a text is one token."""
        if text not in self._words:
            self._words.append(text)
        return [self._words.index(text)]

    def counts(self, texts: Sequence[str]) -> list[int]:
        if self._texts:
            return self._texts.counts(texts)
        return [-(-len(text.encode()) // BYTES_A_TOKEN) for text in texts]

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        if self._texts:
            return self._texts.cut(texts, tokens)
        size = tokens * BYTES_A_TOKEN
        return [text.encode()[:size].decode(errors="ignore") for text in texts]

    def token_logits(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        raise ModelError(
            f"{self.endpoint.url}: an endpoint tells log-probabilities; this method needs logits"
        )

    def token_log_probabilities(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        words = [self._words[i] for i in ids]

        def likely(prompt: Prompt) -> list[float]:
            tokens = self._likeliest(prompt)
            return [_best(tokens, word) for word in words]

        found = self._each(likely, prompts)
        return np.array(found, dtype=np.float32).reshape(len(prompts), len(ids))

    def span_log_likelihoods(
        self, prompts: Sequence[Prompt], spans: Sequence[str]
    ) -> list[Float[np.ndarray, " _"]]:
        def likelihoods(pair: tuple[Prompt, str]) -> Float[np.ndarray, " _"]:
            before = _plain(pair[0])
            asked = {"prompt": before + pair[1], "max_tokens": 1, "logprobs": 1, "echo": True}
            told = self._choice("completions", asked)["logprobs"]
            values = [
                value
                for value, place in zip(told["token_logprobs"], told["text_offset"], strict=True)
                # The very first token has no probability.
                if len(before) <= place < len(before) + len(pair[1]) and value is not None
            ]
            return np.array(values, dtype=np.float32)

        return self._each(likelihoods, list(zip(prompts, spans, strict=True)))

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        more: Json = {"max_tokens": max_tokens, **({"stop": list(stop)} if stop else {})}

        def answer(prompt: Prompt) -> str:
            if _talks(prompt):
                said = self._choice("chat/completions", {**_chat(prompt), **more})["message"]
                return up_to(said["content"] or "", stop)
            return up_to(
                str(self._choice("completions", {"prompt": _plain(prompt), **more})["text"]), stop
            )

        return self._each(answer, prompts)

    def _likeliest(self, prompt: Prompt) -> dict[str, float]:
        """The log-probabilities of the likeliest next tokens, as they are written."""
        most = self.endpoint.likeliest
        if _talks(prompt):
            asked = {**_chat(prompt), "max_tokens": 1, "logprobs": True, "top_logprobs": most}
            told = self._choice("chat/completions", asked)["logprobs"]["content"]
            return {one["token"]: one["logprob"] for one in told[0]["top_logprobs"]} if told else {}
        asked = {"prompt": _plain(prompt), "max_tokens": 1, "logprobs": most}
        told = self._choice("completions", asked)["logprobs"]["top_logprobs"]
        return dict(told[0]) if told else {}

    def _choice(self, path: str, asked: Json) -> Any:
        """The first choice of an answer.

        Raises:
            ModelError: The endpoint does not answer, or not in the protocol.
        """
        body = {"model": self.endpoint.model, "temperature": 0, **asked}
        started = time.perf_counter()
        try:
            response = self._client.post(path, json=body).raise_for_status()
            told = response.json()
            choice, usage = told["choices"][0], told.get("usage") or {}
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ModelError(f"{self.endpoint.url}/{path}: {error}") from error
        took = time.perf_counter() - started
        spend(calls=1, tokens=int(usage.get("total_tokens", 0)), model_s=took)
        return choice

    def _each(self, ask: Callable[[Any], T], asked: Sequence[Any]) -> list[T]:
        """The answers, in order, asked for side by side."""
        contexts = [copy_context() for _ in asked]
        running = [
            self._threads.submit(context.run, ask, one)
            for context, one in zip(contexts, asked, strict=True)
        ]
        try:
            return [future.result() for future in running]
        except (KeyError, IndexError, TypeError) as error:
            raise ModelError(
                f"{self.endpoint.url}: not an answer in the protocol: {error}"
            ) from error
        finally:
            for future in running:
                future.cancel()


def _talks(prompt: Prompt) -> bool:
    return bool(prompt.messages or prompt.images)


def _plain(prompt: Prompt) -> str:
    if _talks(prompt):
        raise InputError("the likelihood of a text after a conversation or images cannot be asked")
    return prompt.prefix + prompt.text + prompt.answer


def _chat(prompt: Prompt) -> dict[str, Any]:
    """A prompt as a conversation; one that begins the answer is vLLM's way to go on from it."""
    turns = [(turn.role, turn.text) for turn in prompt.messages]
    images = [_image(image) for image in prompt.images]
    messages: list[dict[str, Any]] = []
    for role, text in turns or [("user", prompt.prefix + prompt.text)]:
        content: Any = text
        if role == "user" and images:
            content, images = [*images, {"type": "text", "text": text}], []
        messages.append({"role": role, "content": content})
    if not prompt.answer:
        return {"messages": messages}
    messages.append({"role": "assistant", "content": prompt.answer})
    return {
        "messages": messages,
        "add_generation_prompt": False,
        "continue_final_message": True,
    }


def _image(image: Image) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _best(tokens: Mapping[str, float], word: str) -> float:
    """The log-probability of a word's likeliest spelling, with a space before it or without."""
    spelt = [
        value for token, value in tokens.items() if token.lstrip(SPACES) == word.lstrip(SPACES)
    ]
    return max(spelt, default=-np.inf)

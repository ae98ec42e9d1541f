"""A language model and a cross-encoder for tests, without weights: they compare words."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.usage import spend

WORD = re.compile(r"\s*\S+")
VOCABULARY = 1_000


@dataclass
class Parrot:
    """A `LanguageModel` that knows words: the next token is likelier the more often it was read.

    Attributes:
        answers: What `generate` says to a prompt.
        logits: Instead of the count of words: a logit of a prompt and a word.
        read: Every prompt so far, as text.
    """

    answers: Callable[[str], str] = lambda text: ""
    logits: Callable[[str, str], float] | None = None
    max_tokens: int = 4096
    reads_images: bool = True
    read: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def token_ids(self, text: str) -> list[int]:
        return [self._id(word) for word in text.split()]

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        return ["".join(WORD.findall(text)[:tokens]) for text in texts]

    def token_logits(self, prompts: Sequence[Prompt], ids: Sequence[int]) -> np.ndarray:
        shape = (len(prompts), len(ids))
        read = [self._read(prompt) for prompt in prompts]
        values = [[self._logit(text, self.words[i]) for i in ids] for text in read]
        return np.array(values, dtype=np.float64).reshape(shape)

    def token_log_probabilities(self, prompts: Sequence[Prompt], ids: Sequence[int]) -> np.ndarray:
        logits = self.token_logits(prompts, ids)
        rest = VOCABULARY - len(ids)  # words with a logit of 0
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True) + rest)

    def span_log_likelihoods(
        self, prompts: Sequence[Prompt], spans: Sequence[str]
    ) -> list[np.ndarray]:
        found = []
        for prompt, span in zip(prompts, spans, strict=True):
            text = self._read(prompt)
            found.append(np.array([self._logit(text, word) - 10 for word in span.split()]))
        return found

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        return [self.answers(self._read(prompt)) for prompt in prompts]

    def _read(self, prompt: Prompt) -> str:
        turns = "".join(f"{turn.role}: {turn.text}\n" for turn in prompt.messages)
        text = prompt.prefix + prompt.text + turns + prompt.answer
        spend(calls=1, tokens=len(text.split()), model_s=0.0)
        self.read.append(text)
        return text

    def _logit(self, text: str, word: str) -> float:
        return self.logits(text, word) if self.logits else float(text.split().count(word))

    def _id(self, word: str) -> int:
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)


@dataclass
class WordMatch:
    """A `CrossEncoder` whose last logit is how many words of the query the document has."""

    labels: int = 1
    max_tokens: int = 64
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.pairs += pairs
        spend(calls=len(pairs), tokens=0, model_s=0.0)
        matches = [len({*query.split()} & {*text.split()}) for query, text in pairs]
        values = np.zeros((len(pairs), self.labels))
        values[:, -1] = matches
        return values


@dataclass
class LastWords:
    """A `SequenceClassifier` over words, whose logit is how many of a sequence's are like its last.

    Attributes:
        read: Every sequence so far, as words.
    """

    start_id: int = 0
    words: list[str] = field(default_factory=lambda: ["<s>"])
    read: list[str] = field(default_factory=list)

    def token_ids(self, text: str) -> list[int]:
        self.words += [word for word in text.split() if word not in self.words]
        return [self.words.index(word) for word in text.split()]

    def logits(self, sequences: Sequence[Sequence[int]]) -> np.ndarray:
        self.read += [" ".join(self.words[i] for i in own) for own in sequences]
        return np.array([[float(own.count(own[-1]))] for own in map(list, sequences)])


@dataclass
class FirstVectors:
    """A `PairScorer` that compares the first vectors of both sides."""

    def scores(
        self, query: np.ndarray, documents: Sequence[np.ndarray], *, query_second: bool = False
    ) -> np.ndarray:
        return np.array([float(query[0] @ own[0]) for own in documents])

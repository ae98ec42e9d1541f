"""Token vectors for benchmarks of late interaction: synthetic ones, and real ones of MiniLM.

`python tests/late_interaction_data.py` encodes WordNet's glosses ahead of time; what is
there already is kept, so that it may be broken off.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from serving import ROOT

from tamis.models.blocks.similarity import unit
from tamis.models.encoders.minilm import MiniLM
from tamis.models.train.stamps import unpacked
from tamis.models.types import Content, Side

CACHE = Path(
    os.environ.get("TAMIS_BENCH_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis" / "bench"
)
MINILM = ROOT / "artifacts" / "minilm"
CHUNK = 4_096  # documents that are encoded, and kept, together
BLOCK = 256  # documents that one seed makes
KINDS, SUPER, TOPICS, OF_A_TOPIC = 20_000, 400, 3_000, 120


@dataclass(frozen=True)
class Asked:
    """A query and the document that it is about.

    Attributes:
        vectors: One a token.
        target: The document's number.
    """

    vectors: np.ndarray
    target: int


class Synthetic:
    """Documents of a topic: each token is one of the topic's directions, and noise.

    20,000 directions lie around 400; a topic has 120 of them. A token is its direction with noise
    of its document (norm 0.4) and of its own (0.5). A query of 32 vectors has 12 of its target's
    tokens, 12 of the topic's directions and 8 of any, with noise of norm 1.1; longer ones have the
    same shares. Every document depends on its number and the seed alone.
    """

    dim = 128

    def __init__(self, documents: int, *, tokens: int = 64, seed: int = 0) -> None:
        self.documents, self.tokens, self.seed = documents, tokens, seed
        rng = np.random.default_rng(seed)
        middles = unit(rng.normal(size=(SUPER, self.dim)))
        around = middles[rng.integers(SUPER, size=KINDS)]
        self._kinds = unit(around + _noise(rng, KINDS, self.dim, 1.0)).astype(np.float32)
        self._topics = rng.integers(KINDS, size=(TOPICS, OF_A_TOPIC))

    def chunks(self) -> Iterator[list[np.ndarray]]:
        """All documents, some thousand at a time."""
        for first in range(0, self.documents, CHUNK):
            end = min(first + CHUNK, self.documents)
            blocks = [self._block(start)[0] for start in range(first, end, BLOCK)]
            yield list(np.concatenate(blocks)[: end - first])

    def queries(self, count: int, vectors: int = 32) -> list[Asked]:
        """Queries about documents chosen at random."""
        rng = np.random.default_rng((self.seed, 1, vectors))
        targets = rng.choice(self.documents, count, replace=self.documents < count)
        return [self._query(int(target), vectors, rng) for target in targets]

    def _block(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Some documents, and their topics."""
        rng = np.random.default_rng((self.seed, 0, first))
        topics = rng.integers(TOPICS, size=BLOCK)
        places = rng.integers(OF_A_TOPIC, size=(BLOCK, self.tokens))
        kinds = self._kinds[self._topics[topics[:, None], places]]
        own = _noise(rng, BLOCK, self.dim, 0.4)[:, None]
        each = _noise(rng, BLOCK * self.tokens, self.dim, 0.5).reshape(kinds.shape)
        return unit(kinds + own + each).astype(np.float32), topics

    def _query(self, target: int, vectors: int, rng: np.random.Generator) -> Asked:
        first = target - target % BLOCK
        documents, topics = self._block(first)
        shares = 3 * vectors // 8, 3 * vectors // 8, vectors - 6 * vectors // 8
        own = documents[target - first][rng.integers(self.tokens, size=shares[0])]
        topic = self._kinds[rng.choice(self._topics[topics[target - first]], shares[1])]
        other = self._kinds[rng.integers(KINDS, size=shares[2])]
        clean = np.concatenate([own, topic, other])
        noisy = unit(clean + _noise(rng, len(clean), self.dim, 1.1))
        return Asked(noisy.astype(np.float32), target)


class Glosses:
    """WordNet's glosses as MiniLM's token states; queries are lemmas that the gloss lacks."""

    dim = 384

    def __init__(self, documents: int = 0) -> None:
        self._synsets = list(synsets(unpacked("wordnet-base", CACHE) / "usr/share/wordnet"))
        if documents:
            self._synsets = self._synsets[:documents]
        self.documents = len(self._synsets)
        self._folder = CACHE / "late_interaction" / "glosses"

    def chunks(self) -> Iterator[list[np.ndarray]]:
        """All documents, some thousand at a time; those that are not kept yet are encoded."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for first in range(0, self.documents, CHUNK):
            file = self._folder / f"{first // CHUNK:04d}.npz"
            if not file.exists():
                self._encode(first, file)
            with np.load(file) as kept:
                tokens, lengths = kept["tokens"].astype(np.float32), kept["lengths"]
            documents = np.split(tokens, np.cumsum(lengths)[:-1])
            yield documents[: self.documents - first]

    def queries(self, count: int) -> list[Asked]:
        """Lemmas of synsets chosen at random, each with the gloss that it is to find."""
        rng = np.random.default_rng(1)
        minilm = MiniLM(folder=str(MINILM), threads=1)
        found = []
        for number in rng.permutation(self.documents):
            lemmas, gloss = self._synsets[number]
            if lemmas[0].islower() and not any(lemma in gloss.lower() for lemma in lemmas):
                (made,) = minilm.encode([Content(text=lemmas[0])], Side.QUERY)
                found.append(Asked(np.asarray(made.heads["tokens"]), int(number)))
            if len(found) == count:
                break
        return found

    def _encode(self, first: int, file: Path) -> None:
        minilm = MiniLM(folder=str(MINILM), threads=1)
        texts = [gloss for _, gloss in self._synsets[first : first + CHUNK]]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        made: dict[int, np.ndarray] = {}
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            contents = [Content(text=texts[i]) for i in batch]
            for place, one in zip(batch, minilm.encode(contents, Side.DOCUMENT), strict=True):
                made[place] = np.asarray(one.heads["tokens"], dtype=np.float16)
        rows = [made[i] for i in range(len(texts))]
        new = file.with_suffix(".new")
        with new.open("wb") as out:
            lengths = np.array([len(row) for row in rows])
            np.savez(out, tokens=np.concatenate(rows), lengths=lengths)
        new.replace(file)


def synsets(folder: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """WordNet's lemmas and glosses, of every part of speech."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):  # the licence
                continue
            head, _, tail = line.partition(" | ")
            parts = head.split()
            words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            lemmas = tuple(word.partition("(")[0].replace("_", " ").lower() for word in words)
            yield lemmas, tail.split('; "')[0].strip()


def _noise(rng: np.random.Generator, count: int, dim: int, norm: float) -> np.ndarray:
    drawn: np.ndarray = rng.standard_normal((count, dim), dtype=np.float32)
    return drawn * np.float32(norm / np.sqrt(dim))


if __name__ == "__main__":
    glosses = Glosses()
    done = 0
    for chunk in glosses.chunks():
        done += len(chunk)
        sys.stdout.write(f"{done} of {glosses.documents}\n")
        sys.stdout.flush()

"""Rerankers with real weights, and how fast pairs are scored.

Quality: WordNet's nouns, 2,000 glosses queried by a lemma that the gloss does not name; a gloss is
relevant if its synset has the lemma. all-MiniLM-L6-v2 finds 20, and Gemma 3 270M (base: it was not
trained to follow instructions) orders them again. `TAMIS_BENCH_QUERIES` (10) says how many; all
pairs of 20 are 380 prompts for each, so `-k 'not allpair'` is over much sooner.

Speed: a cross-encoder of MiniLM's sizes with random weights, one query and 100 passages of 16 to
128 words, beside a bare ONNX Runtime loop over the same tokens, sorted by length, at the best of
some batch sizes.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemma import gemma
from serving import ROOT

from tamis.models import catalog
from tamis.models.encoders.minilm import MiniLM
from tamis.models.rerankers import Reranker
from tamis.models.runtimes.language import LanguageModel
from tamis.models.runtimes.usage import metered
from tamis.models.train.stamps import unpacked
from tamis.models.types import Candidate, Content, Query, Side

pytestmark = pytest.mark.bench
CACHE = Path(
    os.environ.get("TAMIS_BENCH_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis" / "bench"
)
MINILM = ROOT / "artifacts" / "minilm"
QUERIES = int(os.environ.get("TAMIS_BENCH_QUERIES") or 10)
GLOSSES, DEPTH, K = 2_000, 20, 10
PAIRS, ROUNDS, BATCHES = 100, 5, (8, 16, 32)


@dataclass(frozen=True)
class Synset:
    """A meaning: its words, and what they mean."""

    lemmas: tuple[str, ...]
    gloss: str


@dataclass(frozen=True)
class Asked:
    """A lemma, the first stage's candidates, and the ids of the relevant glosses."""

    query: Query
    candidates: list[Candidate]
    relevant: frozenset[str]


def nouns(file: Path) -> Iterator[Synset]:
    """WordNet's `data.noun`: offset, file, type, count (hex), words and ids, ... | gloss."""
    for line in file.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, _, tail = line.partition(" | ")
        parts = head.split()
        words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
        gloss = tail.split('; "')[0].strip()
        lemmas = tuple(word.replace("_", " ") for word in words)
        if len(gloss.split()) >= 6 and not any(lemma.lower() in gloss.lower() for lemma in lemmas):
            yield Synset(lemmas, gloss)


def asked(queries: int) -> list[Asked]:
    """Lemmas with MiniLM's best candidates."""
    minilm = MiniLM(folder=str(MINILM))
    rng = np.random.default_rng(0)
    file = unpacked("wordnet-base", CACHE) / "usr" / "share" / "wordnet" / "data.noun"
    known = list(nouns(file))
    synsets = [known[i] for i in rng.choice(len(known), GLOSSES, replace=False)]
    vectors = _vectors(minilm, [synset.gloss for synset in synsets], Side.DOCUMENT)
    lemmas = [one.lemmas[0] for one in synsets if one.lemmas[0].islower()][:queries]
    found = []
    for lemma, own in zip(lemmas, _vectors(minilm, lemmas, Side.QUERY), strict=True):
        scores = vectors @ own
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        relevant = frozenset(str(i) for i, one in enumerate(synsets) if lemma in one.lemmas)
        candidates = [
            Candidate(str(i), float(scores[i]), Content(text=synsets[i].gloss)) for i in best
        ]
        found.append(Asked(Query(Content(text=lemma)), candidates, relevant))
    return found


def _vectors(minilm: MiniLM, texts: Sequence[str], side: Side) -> np.ndarray:
    encodings = minilm.encode([Content(text=text) for text in texts], side)
    return np.array([encoding.heads["dense"] for encoding in encodings], dtype=np.float32)


def ndcg(ranked: Sequence[Candidate], relevant: frozenset[str]) -> float:
    """nDCG@10 with gains of 0 and 1."""
    gains = [1 / np.log2(rank + 2) for rank in range(K)]
    got = sum(g for g, one in zip(gains, ranked, strict=False) if one.document_id in relevant)
    return float(got / sum(gains[: min(K, len(relevant))]))


METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "tsarankllm": ("tsarankllm", {}),
    "co_prompt": ("co_prompt", {}),
    "first": ("first", {"chat": False}),
    "rankgpt": ("rankgpt", {"chat": False, "answer": "["}),
    "prp_sliding": ("prp_allpair", {"pairs": "sliding", "passes": 1}),
    "prp_graph": ("prp_graph", {"rounds": 4}),
    "prp_heapsort": ("prp_allpair", {"pairs": "heapsort"}),
    "prp_allpair": ("prp_allpair", {}),
}


@pytest.fixture(scope="module")
def searches() -> list[Asked]:
    found = asked(QUERIES)
    print(f"\n{len(found)} queries, MiniLM's nDCG@10 {_mean_ndcg(found):.3f}")
    print(f"{'method':12}  nDCG@10           calls/query  tokens/query  s/query")
    return found


@pytest.fixture(scope="module")
def model() -> Any:
    from tamis.models.runtimes.hf.decoder import Decoder
    from tamis.models.runtimes.hf.loading import Checkpoint

    # Nothing is kept from query to query, so that each costs what a new one does.
    return Decoder(Checkpoint(model=str(gemma(CACHE / "gemma")), cache_bytes=0))


@pytest.mark.parametrize("row", METHODS)
def test_quality(row: str, searches: Sequence[Asked], model: Any) -> None:
    name, settings = METHODS[row]
    opener = {LanguageModel: lambda _: model}
    method = catalog.load(Reranker, name, {"model": "gemma", **settings}, open_as=opener)
    ranked, seconds = [], 0.0
    with metered() as usage:
        for one in searches:
            started = time.perf_counter()
            ranked.append(replace(one, candidates=method.rerank(one.query, one.candidates)))
            seconds += time.perf_counter() - started
    before, after, count = _mean_ndcg(searches), _mean_ndcg(ranked), len(searches)
    verdict = "worse" if after < before else "better" if after > before else "same"
    print(
        f"\n{row:12}  {after:.3f} {after - before:+.3f} {verdict:6}  {usage.calls / count:11.1f}  "
        f"{usage.tokens / count:12.0f}  {seconds / count:7.2f}",
        flush=True,
    )


def _mean_ndcg(searches: Sequence[Asked]) -> float:
    return statistics.mean(ndcg(one.candidates, one.relevant) for one in searches)


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM's sizes with a class head and random weights, as it is served."""
    import torch
    import transformers

    from tamis.models.export.draft import Options
    from tamis.models.export.exporting import export

    folder = tmp_path_factory.mktemp("cross_encoder")
    torch.manual_seed(0)
    hub: Any = transformers  # whose types its own configurations do not keep to
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    config = hub.BertConfig(**sizes, num_attention_heads=12, num_labels=1)
    hub.BertForSequenceClassification(config).save_pretrained(folder / "hub")
    (folder / "hub" / "tokenizer.json").write_bytes((MINILM / "tokenizer.json").read_bytes())
    export(folder / "hub", folder / "served", Options(name="MiniLM's sizes"), method="monobert")
    return folder / "served"


def test_pairs_a_second(cross_encoder: Path) -> None:
    from tamis.models.rerankers.monobert import MonoBERT
    from tamis.models.runtimes.onnx_cross_encoder import OnnxCrossEncoder

    model = OnnxCrossEncoder.open(cross_encoder)
    rng = np.random.default_rng(0)
    words = ["bird", "snow", "branch", "red", "small", "looks", "sits", "sea", "the", "on"]
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(16, 129, PAIRS)]
    query = "which bird has a red breast"
    candidates = [Candidate(str(i), 0.0, Content(text=text)) for i, text in enumerate(texts)]
    method = MonoBERT(model=model)
    encodings = model.pairs.encode([(query, text) for text in texts])
    by_length = sorted(range(PAIRS), key=lambda i: len(encodings[i]))
    loops: dict[str, Callable[[], object]] = {
        "reranker": lambda: method.rerank(Query(Content(text=query)), candidates)
    }
    for size in BATCHES:
        groups = [by_length[i : i + size] for i in range(0, PAIRS, size)]
        ready = [
            model.pairs.batch([encodings[i] for i in group]).inputs(types=True) for group in groups
        ]
        loops[f"bare, batches of {size}"] = lambda ready=ready: [  # type: ignore[misc]
            model.session.run({name: one[name] for name in model.folder.recipe.inputs})
            for one in ready
        ]
    times: dict[str, list[float]] = {name: [] for name in loops}
    for round_number in range(ROUNDS + 1):
        for name, loop in loops.items():
            started = time.perf_counter()
            loop()
            if round_number:  # the first one warms up
                times[name].append(time.perf_counter() - started)
    tokens = sum(map(len, encodings))
    print(f"\n{PAIRS} pairs of {tokens} tokens")
    for name, own in times.items():
        print(
            f"{name:22}  {PAIRS / statistics.median(own):7.1f} pairs/s  best {PAIRS / min(own):.1f}"
        )
    bare = min(statistics.median(own) for name, own in times.items() if name != "reranker")
    print(f"reranker / best bare loop: {bare / statistics.median(times['reranker']):.3f}")

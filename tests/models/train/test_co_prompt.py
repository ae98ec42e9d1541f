"""Co-Prompt's search, against all instructions of a small vocabulary; and as a command."""

import json
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from candidates import QUERY, candidates
from language import Parrot

from tamis.models.errors import SettingsError
from tamis.models.prompts import load
from tamis.models.rerankers.co_prompt import CoPrompt
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.language import Prompt
from tamis.models.train.co_prompt import Found, Pair, Search, main, read_pairs, words_of

WORDS = (" ask", " fox", " what", " kite")
PAIRS = [Pair("what fox", "it jumps"), Pair("what kite", "it flies"), Pair("a fox", "it runs")]


def search(**settings: object) -> Search:
    """The discriminator finds words likely that were read; the generator prefers late words."""
    known = Parrot()
    known.token_ids(" ".join(WORDS))
    known.logits = lambda text, word: float(known.words.index(word))
    every = {"length": 3, "proposals": len(WORDS), "beam": len(WORDS) ** 3, **settings}
    return Search(
        generator=known,
        discriminator=Parrot(logits=lambda text, word: np.log1p(text.split().count(word))),
        prompt=load("co_prompt"),
        words=WORDS,
        **every,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("beam", [4, 64])
def test_the_beam_finds_the_best_of_all_instructions(beam: int) -> None:
    """Its score is the reranker's, in the mean over the pairs."""
    scores = {}
    for length in range(4):
        for own in product(WORDS, repeat=length):
            model = Parrot(logits=lambda text, word: np.log1p(text.split().count(word)))
            told = [Prompt(prefix=f"Document: {d}\nPlease{''.join(own)}") for _, d in PAIRS]
            spans = model.span_log_likelihoods(told, [f" {query}" for query, _ in PAIRS])
            scores["Please" + "".join(own)] = float(np.mean([one.mean() for one in spans]))
    found = search(beam=beam).run(PAIRS)
    assert found.score == pytest.approx(max(scores.values()))
    assert scores[found.instruction] == pytest.approx(found.score)
    assert found.score > scores["Please"] + 0.3
    assert search(beam=beam).run(PAIRS) == found


def test_only_what_the_generator_proposes_is_tried() -> None:
    """It prefers the last words, so "kite" and "what" are all there is."""
    found = search(proposals=2).run(PAIRS)
    assert set(found.instruction.split()) <= {"Please", "what", "kite"}
    assert search(proposals=1, beam=1).run(PAIRS).instruction.endswith("kite")


def test_a_narrow_beam_keeps_the_best_of_every_step() -> None:
    steps: list[Found] = []
    found = search(beam=1, report=steps.append).run(PAIRS)
    assert len(steps) == 3
    assert all(b.instruction.startswith(a.instruction) for a, b in pairwise(steps))
    assert found == max(steps, key=lambda step: step.score)


def test_the_command_writes_what_the_reranker_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_models.llama(tmp_path / "llama")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(json.dumps(pair._asdict()) for pair in PAIRS))
    written = []
    for name in ("one.toml", "two.toml"):
        out = tmp_path / name
        arguments = ["--generator", folder, "--discriminator", folder, "--pairs", pairs]
        sizes = ["--out", out, "--length", 2, "--proposals", 3, "--beam", 2]
        main([str(part) for part in (*arguments, *sizes)])
        written.append(out.read_text())
    assert written[0] == written[1]
    prompt = load(str(tmp_path / "one.toml"))
    assert prompt.text("instruction") in capsys.readouterr().out
    model = Decoder(Checkpoint(model=str(folder), device="cpu"))
    assert len(CoPrompt(model=model, prompt=prompt).rerank(QUERY, candidates())) == 3
    changed = written[0].replace("Please", "Kindly")
    (tmp_path / "one.toml").write_text(changed)
    with pytest.raises(SettingsError, match="changed after the search"):
        load(str(tmp_path / "one.toml"))


def test_words_are_those_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(tiny_models.tokenizer().backend_tokenizer.to_str())
    words = words_of(path)
    assert {" fox", " the", "."} <= set(words)
    assert not {"</s>", " ", "<", "fox"} & set(words)
    path.write_text("{}")
    with pytest.raises(SettingsError, match="cannot be read"):
        words_of(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", r"pairs:2: not JSON"), ('{"query": "x"}', r"pairs:2: expected the texts"), ("3", ":2:")],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs"
    path.write_text(f'{{"query": "x", "document": "y"}}\n{line}\n')
    with pytest.raises(SettingsError, match=message):
        read_pairs(path)


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(SettingsError, match="pairs: there are none"):
        search().run([])
    with pytest.raises(ValueError, match="beam must be at least 1, not 0"):
        search(beam=0)

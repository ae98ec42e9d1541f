"""Co-Prompt's score under an instruction of one's own."""

from pathlib import Path

import pytest
from candidates import QUERY, candidates, order
from language import Parrot

from tamis.models.prompts import load
from tamis.models.rerankers.co_prompt import CoPrompt


def test_the_instruction_stands_after_the_document(tmp_path: Path) -> None:
    """The score is the mean over the query's tokens; Parrot finds words likely that were read."""
    path = tmp_path / "searched.toml"
    path.write_text(
        'document = "Doc {document} {instruction}"\nspan = " {query}"\ninstruction = "so ask"\n'
    )
    parrot = Parrot()
    ranked = CoPrompt(model=parrot, prompt=load(str(path))).rerank(QUERY, candidates())
    assert parrot.read[0] == "Doc a dog is lazy so ask"
    assert order(ranked) == "102"
    # "what does a fox do" after "the fox jumps, as a fox does": does 1, a 1, fox 2, of 5 words.
    assert ranked[0].score == pytest.approx(4 / 5 - 10)


def test_documents_are_cut() -> None:
    parrot = Parrot()
    CoPrompt(model=parrot, document_tokens=2).rerank(QUERY, candidates())
    assert parrot.read[1].startswith("Document: the fox\n")

"""What writes contexts: a language model, whatever runs it."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tamis.models.contexts.artefact import Artefact
from tamis.models.refiners import KVRefiner


@runtime_checkable
class ContextWriter(Protocol):
    """A causal language model that reads a text once, for others to go on from."""

    @property
    def fingerprint(self) -> str:
        """A short digest of the model, its tokenizer and its positions: equal means the same."""
        ...

    def write(self, text: str, press: KVRefiner, documents: Sequence[str] = ()) -> Artefact:
        """What `press` leaves of a text, in original positions. Called from worker threads.

        Args:
            text: What is read, from the beginning of a sequence.
            press: Which tokens stay.
            documents: Digests of what the text is made of.

        Raises:
            InputError: The text is empty, or longer than the model reads.
        """
        ...

"""How long a collection's documents are, in terms, which BM25 must know when they come in.

A document's weights are computed once, with the average length that its collection was made with.
It is measured on the first documents, where the upsert makes the collection and no setting tells;
and documents that come later are watched: where they are of quite another length, the log says so.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tamis.models.types import Head, Side, Sparse, TermWeighting
from tamis.server.content import RawContent
from tamis.server.encoders import Encoders
from tamis.server.tasks import together
from tamis.v1 import document_pb2

logger = logging.getLogger(__name__)

SAMPLE = 64  # documents that an average length is measured on, at most
LEAST = 8  # and at least: fewer tell nothing
WATCHED = 1_000  # documents after which a drift is told
DRIFT = 2.0  # how many times longer, or shorter, than they were said to be


@dataclass(slots=True)
class _Seen:
    documents: int = 0
    terms: float = 0.0
    told: bool = False


class Lengths:
    """Measures and watches the lengths of documents."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    async def measured(
        self,
        encoders: Encoders,
        fields: Mapping[str, Head],
        documents: Sequence[document_pb2.Document],
    ) -> dict[str, dict[str, float]]:
        """The average length of the documents' texts, for each field that has none by its settings.

        Of fewer than `LEAST` texts it says nothing.
        """
        texts = [d.content.text for d in documents if d.content.text.strip()][:SAMPLE]
        open_fields = [
            name
            for name, head in fields.items()
            if head.weighting and not head.weighting.average_length
        ]
        found: dict[str, dict[str, float]] = {}
        for name in open_fields if len(texts) >= LEAST else ():
            encoder, _, head = name.partition(".")
            made = await together(
                *(encoders.encode(encoder, RawContent(one), Side.DOCUMENT) for one in texts)
            )
            counts = [encoding.heads.get(head) for encoding in made]
            lengths = [float(one.values.sum()) for one in counts if isinstance(one, Sparse)]
            if lengths:
                found[name] = {"average_length": sum(lengths) / len(lengths)}
        return found

    def saw(self, collection: str, field: str, terms: float, how: TermWeighting) -> None:
        """A document of so many terms has come in."""
        seen = self._seen.setdefault((collection, field), _Seen())
        seen.documents += 1
        seen.terms += terms
        if seen.told or seen.documents < WATCHED or how.variant == "tf_idf":
            return
        mean = seen.terms / seen.documents
        if not how.average_length / DRIFT <= mean <= how.average_length * DRIFT:
            seen.told = True
            logger.warning(
                "documents of %r have %.0f terms in %r, not %.0f: index them again in a collection "
                "with average_length = %.0f",
                collection,
                mean,
                field,
                how.average_length,
                mean,
            )

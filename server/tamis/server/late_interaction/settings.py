"""How collections with a vector a token are searched quickly."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LateInteractionSettings:
    """What is made of a collection's multi-vectors, so that not all are compared with a query.

    Attributes:
        train_after: Documents from which a collection gets centroids; in smaller ones each
            document is compared.
        retrain_growth: Centroids are trained again when there are so many times the documents.
        retrain_drift: They are too when new documents are so much less similar to their centroids
            than those that these were trained on.
        copy: Whether the server keeps the vectors as bytes in a mapped file too, which it scores
            faster than the index does. Not on a cluster.
        copy_bits: Of each number in that file: 8, or 4 for half of the memory.
        copy_stale: The share of candidates that the file lacks, or has as they were, above which
            it is made again.
        look_after_s: How often the server looks for what is to be made, in seconds; 0 leaves it
            to `tamis collections optimize`.
        threads: Threads that may work on it in the background.
        max_vectors: Vectors of one document, at most; one with more is refused.
        pooling: How many vectors of a document become one when it is taken in, by `encoder.head`.
    """

    train_after: int = 10_000
    retrain_growth: float = 4.0
    retrain_drift: float = 0.1
    copy: bool = True
    copy_bits: int = 8
    copy_stale: float = 0.1
    look_after_s: float = 60.0
    threads: int = 1
    max_vectors: int = 16_384
    pooling: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.train_after < 1:
            raise ValueError(f"train_after must be at least 1, not {self.train_after}")
        if self.retrain_growth <= 1:
            raise ValueError(f"retrain_growth must be above 1, not {self.retrain_growth}")
        if not 0 < self.retrain_drift <= 1:
            raise ValueError(f"retrain_drift must be above 0, at most 1, not {self.retrain_drift}")
        if self.copy_bits not in (4, 8):
            raise ValueError(f"copy_bits must be 4 or 8, not {self.copy_bits}")
        if not 0 < self.copy_stale <= 1:
            raise ValueError(f"copy_stale must be above 0, at most 1, not {self.copy_stale}")
        if self.look_after_s < 0:
            raise ValueError(f"look_after_s must be at least 0, not {self.look_after_s}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.max_vectors < 1:
            raise ValueError(f"max_vectors must be at least 1, not {self.max_vectors}")
        if wrong := [name for name, factor in self.pooling.items() if factor < 1]:
            raise ValueError(f"pooling.{wrong[0]} must be at least 1")

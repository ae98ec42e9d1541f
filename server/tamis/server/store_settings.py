"""Where the index is, and what may be asked of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where documents are kept and searched.

    Attributes:
        url: Empty for the embedded engine, else a Qdrant cluster's gRPC address, as in
            ``http://qdrant:6334``.
        folder: Where the embedded engine, the pictures and the snapshots live.
        timeout_s: How long one call to the index may take, in seconds.
        api_key: What the cluster wants to see; empty for none.
        ca_file: The authorities that TLS to the cluster trusts, as PEM; empty for the system's.
        consistency: How many of a cluster's replicas a read asks: a number, or ``majority``,
            ``quorum`` or ``all``; empty for one.
        ordering: How a cluster orders writes: ``weak``, ``medium`` or ``strong``; empty for weak.
        attempts: How often a call to an index that cannot be reached is made, at most.
        max_queued: Calls that wait for the embedded engine; the next one is refused.
        hung_after_s: How long the embedded engine may give no sign before it is started again, in
            seconds.
        min_free_bytes: What writes to the embedded engine leave free of its disk: without it, its
            process could not even be started again.
        vectors: The representations that a new collection indexes, as `encoder.head`; empty for
            all that the encoders make.
        dense: How a new collection searches dense vectors: in ``float32``, or in ``int8`` with the
            best compared again in float32, which takes a quarter of the memory.
        oversampling: How many times as many as are wanted are compared again.
    """

    url: str = ""
    folder: str = "artifacts/data"
    timeout_s: float = 30.0
    api_key: str = ""
    ca_file: str = ""
    consistency: str = ""
    ordering: str = ""
    attempts: int = 5
    max_queued: int = 1_024
    hung_after_s: float = 30.0
    min_free_bytes: int = 256 << 20
    vectors: tuple[str, ...] = ()
    dense: str = "float32"
    oversampling: float = 2.0

    def __post_init__(self) -> None:
        if self.dense not in ("float32", "int8"):
            raise ValueError(f"dense must be float32 or int8, not {self.dense!r}")
        if self.oversampling < 1:
            raise ValueError(f"oversampling must be at least 1, not {self.oversampling}")
        if self.timeout_s <= 0 or self.hung_after_s <= 0:
            raise ValueError("timeout_s and hung_after_s must be above 0")
        if not 1 <= self.attempts <= 5:
            raise ValueError(f"attempts must be from 1 to 5, not {self.attempts}")
        if self.max_queued < 1:
            raise ValueError(f"max_queued must be at least 1, not {self.max_queued}")
        if self.min_free_bytes < 0:
            raise ValueError(f"min_free_bytes must be at least 0, not {self.min_free_bytes}")
        words = ("", "majority", "quorum", "all")
        if self.consistency not in words and not (
            self.consistency.isdecimal() and int(self.consistency)
        ):
            raise ValueError(
                f"consistency must be a number, majority, quorum or all, not {self.consistency!r}"
            )
        if self.ordering not in ("", "weak", "medium", "strong"):
            raise ValueError(f"ordering must be weak, medium or strong, not {self.ordering!r}")

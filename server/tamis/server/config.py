"""The server's settings. `deploy/tamis.toml` shows every one with its default."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.models.contexts.key_values import PositionMode
from tamis.models.contexts.precision import Precision
from tamis.models.errors import SettingsError
from tamis.models.settings import build
from tamis.server.cache.settings import CacheSettings
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.store_settings import StoreSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a caller may ask for at most. Every refusal names the value and the limit.

    Attributes:
        max_k: Hits of one search.
        max_message_bytes: Bytes of one message, both ways.
        max_text_bytes: Bytes of one text, in UTF-8.
        max_image_bytes: Bytes of one encoded image.
        max_image_pixels: Pixels of one decoded image, or of a video's frames together.
        max_frames: Frames of one video.
        max_metadata_bytes: Bytes of one document's metadata, as JSON.
        max_batch_inputs: Inputs of one Embed call, documents of one UpsertDocuments message.
        max_in_flight: Searches and single calls to models in flight.
        max_in_flight_per_tenant: Those of one tenant, which a call names in its metadata as
            `x-tenant-id`; calls that name none are one tenant. 0 for no such limit.
    """

    max_k: int = 1_000
    max_message_bytes: int = 32 << 20
    max_text_bytes: int = 64 << 10
    max_image_bytes: int = 16 << 20
    max_image_pixels: int = 40_000_000
    max_frames: int = 64
    max_metadata_bytes: int = 64 << 10
    max_batch_inputs: int = 256
    max_in_flight: int = 256
    max_in_flight_per_tenant: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How single inputs are grouped for a model.

    Attributes:
        max_size: Inputs in one batch, at most.
        max_cost: Tokens (or a like unit) in one batch, at most; one input may exceed it alone.
        max_run_ms: How long a batch may run, by what the ones before it took; one input may exceed
            it alone. The interactive never wait longer than this for work in bulk.
        gather_ms: How long, right after a batch, the next one may wait for those who have just been
            answered; 0 not to wait. An idle model never waits.
        max_padding: The share of a batch that may be padding, because its inputs differ in cost.
        free_padding: Padding of a batch that is always allowed, in tokens (or a like unit): so
            little costs less than a batch of its own.
        max_queued: Inputs waiting, at most; the next one is refused as overloaded.
    """

    max_size: int = 32
    max_cost: int = 16_384
    max_run_ms: float = 200.0
    gather_ms: float = 2.0
    max_padding: float = 0.25
    free_padding: int = 256
    max_queued: int = 1_024

    def __post_init__(self) -> None:
        if not 1 <= self.max_size <= self.max_queued:
            raise ValueError("needs 1 <= max_size <= max_queued")
        if self.max_cost < 1:
            raise ValueError(f"max_cost must be at least 1, not {self.max_cost}")
        if self.max_run_ms <= 0:
            raise ValueError(f"max_run_ms must be above 0, not {self.max_run_ms}")
        if self.gather_ms < 0:
            raise ValueError(f"gather_ms must be at least 0, not {self.gather_ms}")
        if not 0 <= self.max_padding < 1:
            raise ValueError(f"max_padding must be from 0 to below 1, not {self.max_padding}")
        if self.free_padding < 0:
            raise ValueError(f"free_padding must be at least 0, not {self.free_padding}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSettings:
    """Which method does a job, and that method's own settings."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveSettings:
    """The first stage.

    Attributes:
        method: A retriever's name.
        settings: That method's own.
        depth: Candidates that it finds for the next stage, at least `k`.
        stream: Whether a method of several retrievers shows everybody what the first of them found,
            as a partial result, while the others search; else only to requests that ask for it.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    depth: int = 100
    stream: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 10_000:
            raise ValueError(f"depth must be from 1 to 10000, not {self.depth}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankSettings:
    """The second stage.

    Attributes:
        method: A reranker's name.
        settings: That method's own.
        depth: Candidates that it reads; those below keep their places.
    """

    method: str = "identity"
    settings: dict[str, Any] = field(default_factory=dict)
    depth: int = 50

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= 1_000:
            raise ValueError(f"depth must be from 0 to 1000, not {self.depth}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValueSettings:
    """Texts as what a language model remembers of them.

    Attributes:
        method: The refiner that chooses which of its tokens stay, such as ``keydiff``.
        settings: That method's own.
        model: The language model that reads them: a checkpoint's folder, or a table as a method's
            `model` is. It needs the extra `torch`.
        keys: How the cache's keys are stored: ``float32``, ``bfloat16``, ``int8`` or
            ``float8_e4m3``.
        values: The same of its values.
        positions: Where the keys are turned to: ``original``, ``shifted`` or ``packed``; see
            `tamis.models.contexts.key_values`.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    model: Any
    keys: str = Precision.BFLOAT16.value
    values: str = Precision.INT8.value
    positions: str = PositionMode.ORIGINAL.value

    def __post_init__(self) -> None:
        known = {"keys": Precision, "values": Precision, "positions": PositionMode}
        for name, words in known.items():
            if getattr(self, name) not in list(words):
                raise ValueError(
                    f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineSettings:
    """The third stage.

    Attributes:
        visual: The refiner of images; unset leaves images out of the context.
        encoder: The encoder that makes the visual tokens.
        text: The refiner of texts; unset passes texts on whole.
        key_values: Turns the texts that are left into a language model's key-value cache.
        depth: Documents that become context; 0 turns the stage off.
        context_ttl_s: How long a context is kept under its handle, in seconds.
    """

    visual: MethodSettings | None = None
    encoder: str = ""
    text: MethodSettings | None = None
    key_values: KeyValueSettings | None = None
    depth: int = 3
    context_ttl_s: int = 3_600

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= 100:
            raise ValueError(f"depth must be from 0 to 100, not {self.depth}")
        if not 1 <= self.context_ttl_s <= 10 * 365 * 86_400:
            raise ValueError(f"context_ttl_s must be from 1 to ten years, not {self.context_ttl_s}")
        if self.visual and self.key_values:
            raise ValueError("a context has visual tokens or key_values: one model reads it")
        if self.visual and not self.encoder:
            raise ValueError("visual needs an encoder that makes visual tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """What a search goes through.

    Attributes:
        expand: The expander that rewrites the query for the first stage; unset for none.
        retrieve: The first stage.
        rerank: The second stage.
        refine: The third stage.
    """

    retrieve: RetrieveSettings
    expand: MethodSettings | None = None
    rerank: RerankSettings = field(default_factory=RerankSettings)
    refine: RefineSettings = field(default_factory=lambda: RefineSettings(depth=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Everything that `tamis serve` needs to know.

    Attributes:
        listen: Where to listen, as gRPC writes it: ``[::]:50051``; port 0 takes any free one.
        workers: Processes that share the port and the index; each has models, limits and a local
            cache of its own.
        metrics_port: Where Prometheus finds the metrics; 0 turns them off.
        triton_metrics: Whether requests of the Open Inference Protocol count under Triton's names
            (`nv_inference_*`) too.
        drain_s: How long searches in flight may go on after SIGTERM, in seconds.
        search_timeout_s: The deadline of a search that brings none, in seconds.
        threads: Threads of one model; 0 shares the cores among the models.
        warm_up_s: How long a model may run its shapes before it is in service, in seconds; 0 runs
            none.
        models_folder: The folder below which LoadModel may name others; empty allows none.
    """

    encoders: dict[str, MethodSettings]
    pipelines: dict[str, PipelineSettings]
    listen: str = "[::]:50051"
    workers: int = 1
    metrics_port: int = 0
    triton_metrics: bool = False
    drain_s: float = 30.0
    search_timeout_s: float = 10.0
    threads: int = 0
    warm_up_s: float = 2.0
    models_folder: str = ""
    limits: Limits = field(default_factory=Limits)
    batch: BatchSettings = field(default_factory=BatchSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    late_interaction: LateInteractionSettings = field(default_factory=LateInteractionSettings)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        if "default" not in self.pipelines:
            raise ValueError("pipelines.default: missing")


def read(path: Path) -> ServerSettings:
    """Reads the settings file.

    Raises:
        SettingsError: The file is not there or not TOML, or says something that the server does
            not know.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return build(ServerSettings, table, where=path.name)


def default_settings() -> Path:
    """Where the settings that come with tamis are: in the package, or in a source tree."""
    packaged = Path(__file__).with_name("tamis.toml")
    return packaged if packaged.exists() else Path(__file__).parents[3] / "deploy" / "tamis.toml"

"""Opens the models that settings name, each one once, however many pipelines use it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tamis.models.contexts.writer import ContextWriter
from tamis.models.errors import ModelError, SettingsError
from tamis.models.prompts import Prompts, load
from tamis.models.runtimes import onnx_decoder, onnx_encoder_decoder
from tamis.models.runtimes.folder import NAME, method_of
from tamis.models.runtimes.language import CrossEncoder, LanguageModel, SequenceClassifier
from tamis.models.runtimes.onnx_cross_encoder import OnnxCrossEncoder
from tamis.models.runtimes.onnx_decoder import OnnxDecoder
from tamis.models.runtimes.onnx_encoder_decoder import OnnxEncoderDecoder
from tamis.models.runtimes.onnx_language import ROOM
from tamis.models.runtimes.ordering import EmbeddingReader, FusionInDecoder
from tamis.models.runtimes.pair_scorer import OnnxPairScorer, PairScorer
from tamis.models.settings import Openers, build

T = TypeVar("T")

BUILT = ("decoder", "encoder_decoder", "vision")


@dataclass(frozen=True, slots=True, kw_only=True)
class HfSettings:
    """A language model on torch.

    Attributes:
        built: ``decoder``, ``encoder_decoder`` or ``vision``; empty to tell by the checkpoint.
        checkpoint: As `runtimes.hf.loading.Checkpoint` declares.
    """

    built: str = ""
    checkpoint: dict[str, Any]

    def __post_init__(self) -> None:
        if self.built and self.built not in BUILT:
            raise ValueError(f"built must be one of {', '.join(BUILT)}, not {self.built!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSettings:
    """A language model in a folder as `tamis export` makes it.

    Attributes:
        folder: The folder.
        room: Tokens that one run reads, padding included, which bounds its memory.
        cache_bytes: Attention states of prefixes that a decoder keeps from call to call, in bytes.
    """

    folder: str
    room: int = ROOM
    cache_bytes: int = 256 << 20


@dataclass
class ModelOpener:
    """The models that were opened so far.

    A setting is a path or a table. A path is a model folder for a cross-encoder, and for a language
    model where it has a `model.toml`; any other is a checkpoint that transformers reads, as if it
    were ``{checkpoint = {model = PATH}}``. A table with a `folder` is a model folder too, one with
    a `url` an OpenAI-compatible endpoint.

    Attributes:
        threads: Threads that one run of a graph may use; 0 for one a core.
    """

    threads: int = 0
    _opened: dict[tuple[type, str], Any] = field(default_factory=dict)

    @property
    def openers(self) -> Openers:
        """How to open a setting, by the type of the method's field."""
        return {
            CrossEncoder: lambda said: self._once(CrossEncoder, said, self._cross_encoder),
            PairScorer: lambda said: self._once(PairScorer, said, self._pair_scorer),
            SequenceClassifier: lambda said: self._once(SequenceClassifier, said, _classifier),
            Prompts: _prompts,
            LanguageModel: lambda said: self._once(LanguageModel, said, self._language_model),
            FusionInDecoder: lambda said: self._once(FusionInDecoder, said, _fusion),
            EmbeddingReader: lambda said: self._once(EmbeddingReader, said, _embedding_reader),
            ContextWriter: lambda said: self._once(ContextWriter, said, _context_writer),
        }

    def _once(self, kind: type, said: Any, open_it: Callable[[Any], T]) -> T:
        key = (kind, repr(sorted(said.items()) if isinstance(said, Mapping) else said))
        if key not in self._opened:
            self._opened[key] = open_it(said)
        opened: T = self._opened[key]
        return opened

    def _cross_encoder(self, said: Any) -> CrossEncoder:
        return OnnxCrossEncoder.open(_folder(said), threads=self.threads)

    def _language_model(self, said: Any) -> LanguageModel:
        if isinstance(said, str) and (Path(said) / NAME).is_file():
            said = {"folder": said}
        if not isinstance(said, Mapping) or "folder" not in said:
            return _language_model(said)
        settings = build(GraphSettings, said, where="model")
        path, threads, room = settings.folder, self.threads, settings.room
        method = method_of(path)
        if method == onnx_encoder_decoder.METHOD:
            return OnnxEncoderDecoder.open(path, threads=threads, room=room)
        if method == onnx_decoder.METHOD:
            return OnnxDecoder.open(
                path, threads=threads, room=room, cache_bytes=settings.cache_bytes
            )
        raise ModelError(f"{path}: method: {method!r} is no language model")

    def _pair_scorer(self, said: Any) -> PairScorer:
        return OnnxPairScorer.open(_folder(said), threads=self.threads)


def _folder(said: Any) -> str:
    if not isinstance(said, str):
        raise SettingsError(f"model: expected a model folder, got {said!r}")
    return said


def _prompts(said: Any) -> Prompts:
    if not isinstance(said, str):
        raise SettingsError(f"prompt: expected a name or a path, got {said!r}")
    return load(said)


def _classifier(said: Any) -> SequenceClassifier:
    from tamis.models.runtimes.hf.classifier import Classifier
    from tamis.models.runtimes.hf.loading import Checkpoint

    return Classifier(build(Checkpoint, _hf(said).checkpoint, where="model.checkpoint"))


def _fusion(said: Any) -> FusionInDecoder:
    from tamis.models.runtimes.hf.fusion import HfFusionInDecoder
    from tamis.models.runtimes.hf.loading import Checkpoint

    return HfFusionInDecoder(build(Checkpoint, _hf(said).checkpoint, where="model.checkpoint"))


def _embedding_reader(said: Any) -> EmbeddingReader:
    from tamis.models.runtimes.hf.embedding_reader import HfEmbeddingReader
    from tamis.models.runtimes.hf.loading import Checkpoint

    return HfEmbeddingReader(build(Checkpoint, _hf(said).checkpoint, where="model.checkpoint"))


def _context_writer(said: Any) -> ContextWriter:
    from tamis.models.runtimes.hf.contexts import ContextModel
    from tamis.models.runtimes.hf.loading import Checkpoint

    return ContextModel(build(Checkpoint, _hf(said).checkpoint, where="model.checkpoint"))


def _language_model(said: Any) -> LanguageModel:
    if isinstance(said, Mapping) and "url" in said:
        from tamis.models.runtimes.openai_endpoint import Endpoint, OpenAIEndpoint

        return OpenAIEndpoint(build(Endpoint, said, where="model"))
    from tamis.models.runtimes.hf.decoder import Decoder
    from tamis.models.runtimes.hf.encoder_decoder import EncoderDecoder
    from tamis.models.runtimes.hf.loading import Checkpoint

    settings = _hf(said)
    checkpoint = build(Checkpoint, settings.checkpoint, where="model.checkpoint")
    built = settings.built or checkpoint.built()
    if built == "encoder_decoder":
        return EncoderDecoder(checkpoint)
    return Decoder(checkpoint, sees=built == "vision")


def _hf(said: Any) -> HfSettings:
    if isinstance(said, str):
        return HfSettings(checkpoint={"model": said})
    if not isinstance(said, Mapping):
        raise SettingsError(f"model: expected a folder or a table, got {said!r}")
    return build(HfSettings, said, where="model")

"""GRPCInferenceService: the server's encoders, rerankers and pipelines as models."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

import grpc
import grpc.aio

from tamis.models.errors import SettingsError
from tamis.server.admission import Admission
from tamis.server.config import Limits
from tamis.server.encoders import Encoders
from tamis.server.errors import NotFoundError, UnimplementedError
from tamis.server.metrics import Metrics
from tamis.server.models import Model as Listed
from tamis.server.models import Models, State
from tamis.server.oip import messages
from tamis.server.oip.encoders import EncoderModel
from tamis.server.oip.handlers import handlers
from tamis.server.oip.models import Answer, Model
from tamis.server.oip.pipelines import PipelineModel
from tamis.server.oip.repository import folder_of
from tamis.server.oip.rerankers import RerankModel
from tamis.server.oip.statistics import Statistics
from tamis.server.oip.stream import Stream
from tamis.server.oip.tensors import response
from tamis.server.oip.wire import Response
from tamis.server.pipeline import Pipeline
from tamis.server.services.session import Answer as Search
from tamis.server.stages import Rerank

EXTENSIONS: Final = (
    *("binary_tensor_data", "model_configuration", "model_repository", "parameters"),
    *("schedule_policy", "statistics"),
)
Context = grpc.aio.ServicerContext[Any, Any]
Write = Callable[[Response, bool], Awaitable[None]]


def add_to(
    server: grpc.aio.Server,
    *,
    encoders: Encoders,
    models: Models,
    pipelines: Mapping[str, Pipeline],
    search: Search,
    limits: Limits,
    ready: Callable[[], bool],
    metrics: Metrics,
    admission: Admission,
) -> None:
    """Adds the service to a server.

    Args:
        server: Where to.
        encoders: Each is a model.
        models: Their versions, and what loads and unloads them.
        pipelines: Each is a model, and its reranker is another.
        search: Answers a search of `tamis.v1`, event by event.
        limits: What a request may ask for.
        ready: Whether the server takes calls and goes on taking them.
        metrics: Where requests are counted.
        admission: Who may come in.

    Raises:
        SettingsError: Two models would have one name.
    """
    served = by_name(_models(encoders, pipelines, search, limits))
    service = InferenceService(served, models, ready, metrics, admission)
    handler = grpc.method_handlers_generic_handler(messages.SERVICE, handlers(service))
    server.add_generic_rpc_handlers((handler,))


def _models(
    encoders: Encoders, pipelines: Mapping[str, Pipeline], search: Search, limits: Limits
) -> Iterable[Model]:
    for name in encoders.names:
        yield EncoderModel(name, encoders, limits)
    for name, pipeline in pipelines.items():
        yield PipelineModel(name, pipeline, search)
        reranker = pipeline.stage(Rerank).reranker
        yield RerankModel(f"{name}.rerank", reranker, encoders, limits)


def by_name(models: Iterable[Model]) -> dict[str, Model]:
    """The models, by their names.

    Raises:
        SettingsError: Two have one name.
    """
    found: dict[str, Model] = {}
    for model in models:
        if model.name in found:
            raise SettingsError(f"pipelines.{model.name}: an encoder has that name already")
        found[model.name] = model
    return found


class InferenceService:
    """Answers the protocol's calls.

    Args:
        models: What answers requests, by name.
        repository: The versions of those that have some; the others have one.
        ready: Whether the server takes calls and goes on taking them.
        metrics: Where requests are counted.
        admission: Who may come in.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        repository: Models,
        ready: Callable[[], bool],
        metrics: Metrics,
        admission: Admission,
    ) -> None:
        self._models = models
        self._admission = admission
        self._repository = repository
        self._ready = ready
        self._statistics = {
            name: Statistics(name, metrics.inference(name)) for name in self._models
        }

    async def ServerLive(self, request: Any, context: Context) -> Any:  # noqa: N802 - gRPC's names
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Context) -> Any:  # noqa: N802
        return messages.ServerReadyResponse(ready=self._ready())

    async def ModelReady(self, request: Any, context: Context) -> Any:  # noqa: N802
        serving = self._serving(request.name) if request.name in self._models else ""
        ready = bool(serving) and request.version in {"", serving}
        return messages.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, request: Any, context: Context) -> Any:  # noqa: N802
        own = await asyncio.to_thread(version, "tamis")  # reads a file
        return messages.ServerMetadataResponse(name="tamis", version=own, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: Any, context: Context) -> Any:  # noqa: N802
        model, serving = self._model(request.name, request.version)
        return model.metadata([serving])

    async def ModelConfig(self, request: Any, context: Context) -> Any:  # noqa: N802
        model, _ = self._model(request.name, request.version)
        return messages.ModelConfigResponse(config=model.config())

    async def ModelStatistics(self, request: Any, context: Context) -> Any:  # noqa: N802
        names: Iterable[str] = self._models
        if request.name:
            names = [self._model(request.name, request.version)[0].name]
        return messages.ModelStatisticsResponse(
            model_stats=[self._statistics[name].message(self._serving(name)) for name in names]
        )

    async def RepositoryIndex(self, request: Any, context: Context) -> Any:  # noqa: N802
        made = messages.RepositoryIndexResponse()
        for name in self._models:
            for one in self._versions(name):
                if one.state is State.READY or not request.ready:
                    version_ = str(one.version)
                    made.models.add(name=name, version=version_, state=one.state, reason=one.reason)
        return made

    async def RepositoryModelLoad(self, request: Any, context: Context) -> Any:  # noqa: N802
        await self._repository.load(request.model_name, folder_of(request.parameters))
        return messages.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: Context) -> Any:  # noqa: N802
        await self._repository.unload(request.model_name)
        return messages.RepositoryModelUnloadResponse()

    async def ModelInfer(self, request: Any, context: Context) -> bytes:  # noqa: N802
        if self._decoupled(request):
            raise UnimplementedError(
                f"{request.model_name}: answers more than once; call it with ModelStreamInfer"
            )
        answers: list[Response] = []

        async def keep(answer: Response, final: bool) -> None:
            answers.append(answer)

        await self._infer(request, keep, context.time_remaining())
        return answers[0].packed()

    async def ModelStreamInfer(  # noqa: N802 - writes, never yields
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> None:
        async def infer(request: Any, write: Write) -> None:
            await self._infer(request, write, context.time_remaining())

        await Stream(infer, self._decoupled, context.write).run(request_iterator)

    def _decoupled(self, request: Any) -> bool:
        model = self._models.get(request.model_name)
        return model is not None and model.decoupled

    def _model(self, name: str, asked_version: str) -> tuple[Model, str]:
        """A model, and its version that serves.

        Raises:
            NotFoundError: There is no such model, or not in that version, or it is unloaded.
        """
        if name not in self._models:
            raise NotFoundError(f"model {name!r} is not one of: {', '.join(self._models)}")
        serving = self._serving(name)
        if not serving:
            raise NotFoundError(f"model {name!r} is unloaded")
        if asked_version not in {"", serving}:
            raise NotFoundError(f"model {name!r} has version {serving}, not {asked_version!r}")
        return self._models[name], serving

    def _serving(self, name: str) -> str:
        """The version that answers; empty for none. Pipelines have one."""
        if isinstance(self._models[name], PipelineModel):
            return "1"
        return str(self._repository.serving(name) or "")

    def _versions(self, name: str) -> list[Listed]:
        if isinstance(self._models[name], PipelineModel):
            return [Listed(name=name, family="pipeline", method="")]
        return self._repository.versions(name)

    async def _infer(self, request: Any, write: Write, remaining_s: float | None) -> None:
        model, serving = self._model(request.model_name, request.model_version)
        with self._statistics[model.name].request() as watch:
            asked = replace(model.asked(request, remaining_s), watch=watch)
            watch.read(asked.count)

            async def emit(answer: Answer) -> None:
                watch.inferred()
                made = response(request, serving, model.outputs, answer.values)
                for name, value in answer.parameters.items():
                    made.message.parameters[name].string_param = value
                await write(made, answer.final)
                watch.written()

            # A pipeline's search has a place of its own.
            with nullcontext() if model.decoupled else self._admission.place():
                await model.answer(asked, emit)

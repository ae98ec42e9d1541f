"""GRPCInferenceService: the server's encoders, rerankers and pipelines as models."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from tamis.models.errors import SettingsError
from tamis.server.config import Limits
from tamis.server.encoders import Encoders
from tamis.server.errors import NotFoundError, UnimplementedError
from tamis.server.oip import messages
from tamis.server.oip.encoders import EncoderModel
from tamis.server.oip.models import VERSION, Answer, Model
from tamis.server.oip.pipelines import PipelineModel
from tamis.server.oip.rerankers import RerankModel
from tamis.server.oip.statistics import Statistics
from tamis.server.oip.stream import Stream
from tamis.server.oip.tensors import response
from tamis.server.pipeline import Pipeline
from tamis.server.services.session import Answer as Search
from tamis.server.stages import Rerank

EXTENSIONS: Final = (
    *("binary_tensor_data", "model_configuration", "parameters", "schedule_policy", "statistics"),
)
UNIMPLEMENTED: Final = {
    **dict.fromkeys(
        ("RepositoryModelLoad", "RepositoryModelUnload"),
        "models cannot be loaded or unloaded while serving yet; restart the server",
    ),
    **dict.fromkeys(
        (
            *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister"),
            *("SystemSharedMemoryUnregister", "CudaSharedMemoryStatus"),
            *("CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
        ),
        "there is no shared memory here; send tensors in the call",
    ),
    "TraceSetting": "traces are not set here; send a traceparent, and read the server's log",
    "LogSettings": "the log is not set here",
}

Context = grpc.aio.ServicerContext[Any, Any]


def add_to(
    server: grpc.aio.Server,
    *,
    encoders: Encoders,
    pipelines: Mapping[str, Pipeline],
    search: Search,
    limits: Limits,
) -> None:
    """Adds the service to a server.

    Args:
        server: Where to.
        encoders: Each is a model.
        pipelines: Each is a model, and its reranker is another.
        search: Answers a search of `tamis.v1`, event by event.
        limits: What a request may ask for.

    Raises:
        SettingsError: Two models would have one name.
    """
    service = InferenceService(_models(encoders, pipelines, search, limits))
    handler = grpc.method_handlers_generic_handler(messages.SERVICE, _handlers(service))
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


class InferenceService:
    """Answers the protocol's calls. Every model has one version."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models: dict[str, Model] = {}
        for model in models:
            if model.name in self._models:
                raise SettingsError(f"pipelines.{model.name}: an encoder has that name already")
            self._models[model.name] = model
        self._statistics = {name: Statistics(name) for name in self._models}

    async def ServerLive(self, request: Any, context: Context) -> Any:  # noqa: N802 - gRPC's names
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Context) -> Any:  # noqa: N802
        return messages.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Context) -> Any:  # noqa: N802
        ready = request.name in self._models and request.version in {"", VERSION}
        return messages.ModelReadyResponse(ready=ready)

    async def ServerMetadata(self, request: Any, context: Context) -> Any:  # noqa: N802
        own = await asyncio.to_thread(version, "tamis")  # reads a file
        return messages.ServerMetadataResponse(name="tamis", version=own, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: Any, context: Context) -> Any:  # noqa: N802
        return self._model(request.name, request.version).metadata()

    async def ModelConfig(self, request: Any, context: Context) -> Any:  # noqa: N802
        model = self._model(request.name, request.version)
        return messages.ModelConfigResponse(config=model.config())

    async def ModelStatistics(self, request: Any, context: Context) -> Any:  # noqa: N802
        names: Iterable[str] = self._models
        if request.name:
            names = [self._model(request.name, request.version).name]
        return messages.ModelStatisticsResponse(
            model_stats=[self._statistics[name].message() for name in names]
        )

    async def RepositoryIndex(self, request: Any, context: Context) -> Any:  # noqa: N802
        made = messages.RepositoryIndexResponse()
        for name in self._models:
            made.models.add(name=name, version=VERSION, state="READY")
        return made

    async def ModelInfer(self, request: Any, context: Context) -> Any:  # noqa: N802
        if self._decoupled(request):
            raise UnimplementedError(
                f"{request.model_name}: answers more than once; call it with ModelStreamInfer"
            )
        answers = []

        async def keep(answer: Any, final: bool) -> None:
            answers.append(answer)

        await self._infer(request, keep, context.time_remaining())
        return answers[0]

    async def ModelStreamInfer(  # noqa: N802 - writes, never yields
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> None:
        async def infer(request: Any, write: Callable[[Any, bool], Awaitable[None]]) -> None:
            await self._infer(request, write, context.time_remaining())

        await Stream(infer, self._decoupled, context.write).run(request_iterator)

    def _decoupled(self, request: Any) -> bool:
        model = self._models.get(request.model_name)
        return model is not None and model.decoupled

    def _model(self, name: str, asked_version: str) -> Model:
        if name not in self._models:
            raise NotFoundError(f"model {name!r} is not one of: {', '.join(self._models)}")
        if asked_version not in {"", VERSION}:
            raise NotFoundError(f"model {name!r} has version {VERSION}, not {asked_version!r}")
        return self._models[name]

    async def _infer(
        self,
        request: Any,
        write: Callable[[Any, bool], Awaitable[None]],
        remaining_s: float | None,
    ) -> None:
        model = self._model(request.model_name, request.model_version)
        with self._statistics[model.name].request() as watch:
            asked = model.asked(request, remaining_s)
            watch.read(asked.count)

            async def emit(answer: Answer) -> None:
                watch.inferred()
                made = response(request, VERSION, model.outputs, answer.values)
                for name, value in answer.parameters.items():
                    made.parameters[name].string_param = value
                await write(made, answer.final)
                watch.written()

            await model.answer(asked, emit)


def _handlers(service: InferenceService) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for name in (
        *("ServerLive", "ServerReady", "ServerMetadata", "RepositoryIndex", "ModelReady"),
        *("ModelMetadata", "ModelConfig", "ModelStatistics", "ModelInfer"),
    ):
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            getattr(service, name),
            request_deserializer=messages.message(f"{name}Request").FromString,
            response_serializer=messages.message(f"{name}Response").SerializeToString,
        )
    for name, reason in UNIMPLEMENTED.items():
        handlers[name] = grpc.unary_unary_rpc_method_handler(_refusal(reason))
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
        service.ModelStreamInfer,
        request_deserializer=messages.ModelInferRequest.FromString,
        response_serializer=messages.ModelStreamInferResponse.SerializeToString,
    )
    return handlers


def _refusal(reason: str) -> Callable[[Any, Any], Awaitable[NoReturn]]:
    async def refuse(request: bytes, context: Context) -> NoReturn:
        raise UnimplementedError(reason)

    return refuse

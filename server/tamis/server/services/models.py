"""ModelService: which models the server runs, and their change while it serves."""

import grpc.aio

from tamis.server.messages import KINDS
from tamis.server.models import Model, Models, State
from tamis.v1 import model_service_pb2 as pb
from tamis.v1 import representation_pb2
from tamis.v1.model_service_pb2_grpc import ModelServiceServicer

Context = grpc.aio.ServicerContext[object, object]

_STATES = {
    State.LOADING: pb.MODEL_STATE_LOADING,
    State.READY: pb.MODEL_STATE_READY,
    State.UNAVAILABLE: pb.MODEL_STATE_UNAVAILABLE,
}


class ModelService(ModelServiceServicer):
    """Lists, loads and unloads models."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def ListModels(  # noqa: N802 - gRPC's names
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=map(_message, self._models))

    async def GetModel(  # noqa: N802
        self, request: pb.GetModelRequest, context: Context
    ) -> pb.GetModelResponse:
        return pb.GetModelResponse(model=_message(self._models[request.name]))

    async def LoadModel(  # noqa: N802
        self, request: pb.LoadModelRequest, context: Context
    ) -> pb.LoadModelResponse:
        folder = request.folder if request.HasField("folder") else None
        return pb.LoadModelResponse(model=_message(await self._models.load(request.name, folder)))

    async def UnloadModel(  # noqa: N802
        self, request: pb.UnloadModelRequest, context: Context
    ) -> pb.UnloadModelResponse:
        await self._models.unload(request.name)
        return pb.UnloadModelResponse()


def _message(model: Model) -> pb.Model:
    made = pb.Model(
        name=model.name,
        family=model.family,
        method=model.method,
        version=model.version,
        state=_STATES[model.state],
        reason=model.reason,
    )
    if (encoder := model.encoder) is not None:
        made.fingerprint, made.runtime = encoder.fingerprint, encoder.runtime
        made.modalities.extend(sorted(encoder.modalities))
        for head, kind in encoder.heads.items():
            made.heads.append(
                representation_pb2.VectorField(
                    name=f"{model.name}.{head}",
                    kind=KINDS[kind.kind],
                    dim=kind.dim,
                    fingerprint=encoder.fingerprint,
                )
            )
    return made

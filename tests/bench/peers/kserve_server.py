"""The model on KServe's Python server: `FOLDER=... python kserve_server.py NAME PORT HTTP_PORT`.

KServe has no batching for gRPC. Its documented `predict` blocks its event loop; here the model has
a thread of its own, which is better for it.
"""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from text_model import TextModel


class Encoder(Model):  # type: ignore[misc]
    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name)
        self._model = TextModel(folder)
        self._thread = ThreadPoolExecutor(1)
        self.ready = True

    async def predict(self, payload: InferRequest, headers: object = None) -> InferResponse:
        texts = [bytes(item).decode() for item in payload.inputs[0].as_numpy().flat]
        loop = asyncio.get_running_loop()
        vectors = await loop.run_in_executor(self._thread, self._model, texts)
        output = InferOutput("dense", list(vectors.shape), "FP32")
        output.set_data_from_numpy(vectors)
        return InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    name, port, http_port = sys.argv[1:]
    sys.argv[1:] = []  # kserve parses them when it is used
    ModelServer(http_port=int(http_port), grpc_port=int(port), workers=1).start(
        [Encoder(name, os.environ["FOLDER"])]
    )

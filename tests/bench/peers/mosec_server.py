"""The model on mosec: `FOLDER=... python mosec_server.py WAIT_MS --port PORT`.

A text is the body of a POST to /inference, its vector the body of the answer; no JSON.
"""

import os
import sys

from mosec import Server, Worker
from text_model import TextModel

MAX_BATCH = 32


class Encoder(Worker):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self._model = TextModel(os.environ["FOLDER"])

    def deserialize(self, data: bytes) -> str:
        return data.decode()

    def forward(self, data: list[str]) -> list[bytes]:
        return [row.tobytes() for row in self._model(data)]

    def serialize(self, data: bytes) -> bytes:
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Encoder, max_batch_size=MAX_BATCH, max_wait_time=int(sys.argv[1]))
    server.run()

"""A search that is sent once more when its first event is late: blocking."""

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import grpc

END = object()


class Hedged:
    """The responses of two equal calls as if they were one: those of the first to give any.

    See `AsyncHedged`. A thread reads the first response of each call: gRPC cannot wait for either
    of two, nor for a time.

    Args:
        first: The call that has begun.
        second: Begins the other one, or gives None where that may not be.
        after_s: How long the first has before the second begins.
    """

    def __init__(self, first: Any, second: Callable[[], Any | None], after_s: float) -> None:
        self._calls = [first]
        self._second = second
        self._after_s: float | None = after_s
        self._heard: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._won: Iterator[Any] | None = None
        self._cancelled = False
        self._listen(0, first)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._won is not None:
            return next(self._won)
        response = self._race()
        if response is END:
            raise StopIteration
        return response

    def cancel(self) -> None:
        self._cancelled = True
        for call in self._calls:
            call.cancel()

    def _race(self) -> Any:
        failures: dict[int, grpc.RpcError] = {}
        while len(failures) < len(self._calls):
            try:
                place, response = self._heard.get(timeout=self._after_s)
            except Empty:
                self._hedge()
                continue
            finally:
                self._after_s = None  # the second begins now or never
            if not isinstance(response, grpc.RpcError):
                self._keep(place)
                return response
            failures[place] = response
        raise failures[0]

    def _hedge(self) -> None:
        call = self._second()
        if call is not None:
            self._calls.append(call)
            if self._cancelled:  # meanwhile, by another thread
                call.cancel()
            self._listen(1, call)

    def _listen(self, place: int, call: Any) -> None:
        heard = self._heard  # not self: a search that is dropped must not live on in its threads

        def listen() -> None:
            try:
                heard.put((place, next(call, END)))
            except grpc.RpcError as error:
                heard.put((place, error))

        threading.Thread(target=listen, name="tamis-hedge", daemon=True).start()

    def _keep(self, place: int) -> None:
        winner = self._calls[place]
        for call in self._calls:
            if call is not winner:
                call.cancel()
        self._calls = [winner]
        self._won = iter(winner)

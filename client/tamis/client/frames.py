"""A kept context, in the frames in which it comes."""

from google.protobuf.message import DecodeError

from tamis.client import errors, messages, tensors
from tamis.v1 import context_pb2
from tamis.v1.refine_service_pb2 import GetContextRequest, GetContextResponse


class Frames:
    """Collects a context's frames.

    Args:
        request_id: Of the call, for errors.
    """

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._frames: list[bytes] = []
        self._whole = False

    def request(self, handle: str) -> GetContextRequest:
        """What asks for them."""
        return GetContextRequest(handle=handle)

    def add(self, response: GetContextResponse) -> None:
        """Takes the next frame."""
        self._frames.append(response.frame)
        self._whole = response.last

    def joined(self) -> tensors.Context:
        """The context.

        Raises:
            InternalError: The last frame did not come, or they are no context.
        """
        if not self._whole:
            message = f"a context was cut short after {len(self._frames)} frames"
            raise errors.InternalError(message, request_id=self._request_id)
        try:
            found = context_pb2.Context.FromString(b"".join(self._frames))
        except DecodeError as error:
            message = "what came is no context"
            raise errors.InternalError(message, request_id=self._request_id) from error
        return messages.context(found)

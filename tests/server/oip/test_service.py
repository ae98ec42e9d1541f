"""What the service says of the server itself."""

from typing import Any, cast

import pytest

from tamis.server.admission import Admission
from tamis.server.config import Limits
from tamis.server.metrics import Metrics
from tamis.server.models import Models
from tamis.server.oip.messages import message
from tamis.server.oip.service import InferenceService


@pytest.mark.parametrize("ready", [True, False])
async def test_it_is_ready_as_long_as_the_server_says_so(ready: bool) -> None:
    service = InferenceService(
        {}, cast(Models, None), lambda: ready, Metrics(), Admission(Limits())
    )
    answer = await service.ServerReady(message("ServerReadyRequest")(), cast(Any, None))
    assert answer.ready is ready

"""How a channel behaves: sizes, keepalive, retries. gRPC's defaults suit short-lived callers."""

import json
from typing import Any

SEARCH_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 60.0  # of what is asked less often and may take longer: embedding, collections
CHECK_TIMEOUT_S = 5.0  # of one look whether the server is ready
MESSAGE_BYTES = 32 << 20
HEDGE_SHARE = 0.05

# Calls that may be made twice: they change nothing, or nothing more (a deletion then counts less).
# gRPC retries a stream only until its first message arrives.
SAFE_METHODS = {
    "tamis.v1.CollectionService": (
        "DescribeCollection",
        "ListCollections",
        "GetDocuments",
        "ListSnapshots",
        "DeleteDocuments",
    ),
    "tamis.v1.EmbeddingService": ("Embed",),
    "tamis.v1.ModelService": ("ListModels", "GetModel"),
    "tamis.v1.RefineService": ("Refine", "GetContext"),
    "tamis.v1.RerankService": ("Rerank",),
    "tamis.v1.RetrievalService": ("Search", "BatchSearch"),
    "tamis.v1.ServerService": ("GetServerInfo", "GetCacheStats"),
}

SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": service, "method": method}
                for service, methods in SAFE_METHODS.items()
                for method in methods
            ],
            "retryPolicy": {
                # A server whose index is starting again asks for a second each time.
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                # A server that drains cancels the calls which reach it before its GOAWAY reaches
                # us. A call that its caller cancels is not retried, whatever this says.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # Retries stop while more than half of the tokens are gone, so that callers do not bury a server
    # that is coming back. Each refusal takes one. A server whose index is starting again refuses a
    # search every 2.5 s: half of the most that gRPC allows lasts 20 searches a second for as long
    # as five attempts do. Fewer would turn a slow start into errors for every caller.
    "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1},
}

ARGUMENTS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A server that restarts is found again in a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Equal channels would share one connection, and so one process of a server that has several.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
)

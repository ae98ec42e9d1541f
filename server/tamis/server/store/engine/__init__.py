"""The embedded engine: Qdrant's own engine behind a subset of Qdrant's own gRPC API.

A process of its own, because the engine's binding holds Python's lock in every call.
`python -m tamis.server.store.engine` starts it; the supervisor does so for a server.
"""

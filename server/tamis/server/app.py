"""Puts the parts together: from settings to encoders, collections, pipelines and services."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc.aio

from tamis.models import catalog, instructions
from tamis.models.contexts.writer import ContextWriter
from tamis.models.encoders import Encoder, TokenEncoder
from tamis.models.errors import SettingsError
from tamis.models.expanders import Expander, FeedbackExpander
from tamis.models.rerankers import Reranker
from tamis.models.retrievers import FusedRetriever, Retriever
from tamis.models.runtimes.opening import ModelOpener
from tamis.models.types import Head
from tamis.server.admission import Admission
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import EmbeddingCache
from tamis.server.collections import Collections
from tamis.server.config import MethodSettings, ServerSettings
from tamis.server.encoders import Encoders
from tamis.server.errors import DeadlineError, OverloadedError
from tamis.server.ingest import Ingest
from tamis.server.late_interaction.upkeep import Upkeep, looked_after
from tamis.server.loading import open_encoder, open_refine
from tamis.server.metrics import Metrics
from tamis.server.models import Models
from tamis.server.oip import service as oip
from tamis.server.pipeline import Pipeline, Stage
from tamis.server.retrieving import Retrieve
from tamis.server.revision import Revision
from tamis.server.schemas import DenseIndex
from tamis.server.services.collections import CollectionService
from tamis.server.services.embedding import EmbeddingService
from tamis.server.services.models import ModelService
from tamis.server.services.refine import RefineService
from tamis.server.services.rerank import RerankService
from tamis.server.services.retrieval import RetrievalService
from tamis.server.services.server import ServerService
from tamis.server.snapshots import Snapshots
from tamis.server.stages import Rerank
from tamis.server.store.opening import open_index, open_store
from tamis.v1 import (
    collection_service_pb2_grpc,
    embedding_service_pb2_grpc,
    model_service_pb2_grpc,
    refine_service_pb2_grpc,
    rerank_service_pb2_grpc,
    retrieval_service_pb2_grpc,
    server_service_pb2_grpc,
)


@dataclass(frozen=True, slots=True)
class App:
    """Everything that a server needs, ready to answer."""

    settings: ServerSettings
    encoders: Encoders
    collections: Collections
    snapshots: Snapshots
    pipelines: Mapping[str, Pipeline]
    cache: EmbeddingCache
    contexts: ContextCache
    ingest: Ingest
    upkeep: Upkeep
    models: Models
    metrics: Metrics

    def serve_on(
        self, server: grpc.aio.Server, *, drain: Callable[[], None], ready: Callable[[], bool]
    ) -> None:
        """Adds `tamis.v1` and `inference` to a server.

        Args:
            server: Where to.
            drain: Is called to let it go.
            ready: Whether it takes calls and goes on taking them.
        """
        limits = self.settings.limits
        admission = Admission(limits, self.metrics)
        retrieval = RetrievalService(
            self.pipelines, self.collections, self.settings, self.metrics, admission
        )
        retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(retrieval, server)
        collection_service_pb2_grpc.add_CollectionServiceServicer_to_server(
            CollectionService(self.collections, self.snapshots, self.ingest, self.upkeep, limits),
            server,
        )
        embedding_service_pb2_grpc.add_EmbeddingServiceServicer_to_server(
            EmbeddingService(self.encoders, limits, admission), server
        )
        rerank_service_pb2_grpc.add_RerankServiceServicer_to_server(
            RerankService(self.pipelines, self.encoders, limits, admission), server
        )
        refine_service_pb2_grpc.add_RefineServiceServicer_to_server(
            RefineService(self.pipelines, self.contexts, limits, admission), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self.models), server)
        server_service_pb2_grpc.add_ServerServiceServicer_to_server(
            ServerService(self.settings, self.pipelines, (self.cache, self.contexts), drain),
            server,
        )
        oip.add_to(
            server,
            encoders=self.encoders,
            models=self.models,
            pipelines=self.pipelines,
            search=retrieval.answer,
            limits=limits,
            ready=ready,
            metrics=self.metrics,
            admission=admission,
        )


@asynccontextmanager
async def open_app(settings: ServerSettings, metrics: Metrics | None = None) -> AsyncIterator[App]:
    """An app that is ready when the block begins and whose parts are closed when it ends.

    Raises:
        SettingsError: The settings name what is not there, or do not fit together.
        ModelError: A model's files are missing or damaged.
        StoreUnavailableError: The index does not start.
    """
    loaded = await asyncio.to_thread(_load_encoders, settings)
    await asyncio.to_thread(instructions.tasks)  # their files are read now, not by a request
    async with AsyncExitStack() as stack:
        # One caller's short time is no answer to the others that wait for the same query.
        cache = EmbeddingCache(
            settings.cache, personal=(DeadlineError, OverloadedError), metrics=metrics
        )
        stack.push_async_callback(cache.close)
        contexts = ContextCache(settings.cache, alone=settings.workers == 1, metrics=metrics)
        stack.push_async_callback(contexts.close)
        await asyncio.gather(cache.warm_up(), contexts.warm_up())
        encoders = await stack.enter_async_context(Encoders(loaded, cache, settings.batch, metrics))
        # Settings are checked before the index starts: a typing error should cost no second.
        unknown = [name for name in settings.store.vectors if name not in encoders.heads]
        if unknown:
            raise SettingsError(f"store.vectors: no encoder makes {unknown[0]!r}")
        url = await stack.enter_async_context(open_index(settings.store))
        at = replace(settings.store, url=url)
        store = await stack.enter_async_context(open_store(at))
        folder = Path(settings.store.folder)
        revision = await asyncio.to_thread(Revision, folder / "revision")
        upkeep = await stack.enter_async_context(
            looked_after(store, at, settings.late_interaction, revision)
        )
        collections = Collections(
            store,
            folder,
            heads=encoders.heads,
            fingerprints=encoders.fingerprints,
            revision=revision,
            default=settings.store.vectors,
            late=upkeep.late,
            dense=DenseIndex(settings.store.dense == "int8", settings.store.oversampling),
        )
        pipelines = await asyncio.to_thread(_pipelines, settings, encoders, collections, contexts)
        yield App(
            settings=settings,
            encoders=encoders,
            collections=collections,
            snapshots=Snapshots(collections, folder / "snapshots"),
            pipelines=pipelines,
            cache=cache,
            contexts=contexts,
            ingest=Ingest(encoders, collections, settings.limits),
            upkeep=upkeep,
            models=Models(settings, encoders, collections, pipelines),
            metrics=metrics or Metrics(),
        )


def _load_encoders(settings: ServerSettings) -> dict[str, Encoder]:
    return {name: open_encoder(settings, name) for name in settings.encoders}


def _pipelines(
    settings: ServerSettings,
    encoders: Encoders,
    collections: Collections,
    contexts: ContextCache,
) -> dict[str, Pipeline]:
    opener = ModelOpener(threads=settings.threads)  # one, so that pipelines share their models
    return {
        name: _pipeline(name, settings, encoders, collections, contexts, opener)
        for name in settings.pipelines
    }


def _pipeline(
    name: str,
    settings: ServerSettings,
    encoders: Encoders,
    collections: Collections,
    contexts: ContextCache,
    opener: ModelOpener,
) -> Pipeline:
    where, table = f"pipelines.{name}", settings.pipelines[name]
    retrieve, rerank, refine = table.retrieve, table.rerank, table.refine
    retriever = catalog.load(
        Retriever, retrieve.method, retrieve.settings, where=f"{where}.retrieve.settings"
    )
    _check_spaces(retriever, encoders.heads, f"{where}.retrieve")
    reranker = catalog.load(
        Reranker,
        rerank.method,
        rerank.settings,
        where=f"{where}.rerank.settings",
        open_as={**opener.openers, TokenEncoder: encoders.token_encoder},
    )
    _known(reranker.needs, encoders.heads, f"{where}.rerank")
    expander = _expander(table.expand, encoders.heads, opener, f"{where}.expand")
    stages: list[Stage] = [
        Retrieve(
            retrieve.method,
            retriever,
            encoders,
            collections,
            retrieve.depth,
            reranker.needs,
            expander,
        )
    ]
    stages.append(Rerank(rerank.method, reranker, collections, rerank.depth))

    stages.append(
        open_refine(
            refine,
            f"{where}.refine",
            encoders,
            collections,
            contexts,
            opener.openers[ContextWriter],
            max_bytes=settings.limits.max_message_bytes,
        )
    )
    return Pipeline(stages, stream=retrieve.stream)


def _expander(
    chosen: MethodSettings | None, heads: Mapping[str, Head], opener: ModelOpener, where: str
) -> Expander | None:
    if chosen is None:
        return None
    expander = catalog.load(
        Expander,
        chosen.method,
        chosen.settings,
        where=f"{where}.settings",
        open_as=opener.openers,
    )
    if isinstance(expander, FeedbackExpander):
        _known((expander.vector,), heads, where)
    return expander


def _check_spaces(retriever: Retriever, heads: Mapping[str, Head], where: str) -> None:
    """A query may be compared with an index vector of the same space only."""
    _known((*retriever.needs, *retriever.vectors), heads, where)
    if isinstance(retriever, FusedRetriever):
        for part in retriever.retrievers:
            _check_spaces(part, heads, where)
        return
    spaces = {heads[name].space for name in (*retriever.needs, *retriever.vectors)}
    if len(spaces) > 1:
        names = ", ".join((*retriever.needs, *retriever.vectors))
        raise SettingsError(f"{where}: {names} are not in one space: {', '.join(sorted(spaces))}")


def _known(names: tuple[str, ...], heads: Mapping[str, Head], where: str) -> None:
    for name in names:
        if name not in heads:
            raise SettingsError(f"{where}: no encoder makes {name!r}; known: {', '.join(heads)}")

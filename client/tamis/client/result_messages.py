"""What the wire's answers say, as the caller's results. Pure functions."""

from collections.abc import Iterable

from tamis.client import enums, messages, results, words
from tamis.v1 import (
    collection_service_pb2,
    document_pb2,
    rerank_service_pb2,
    retrieval_service_pb2,
    stage_pb2,
)


def event(message: retrieval_service_pb2.SearchResponse) -> results.Event | None:
    """One event of a search, or None where this client does not know the kind."""
    stage = words.STAGES.get(message.stage, enums.Stage.UNKNOWN)
    match message.WhichOneof("event"):
        case "result":
            return _result(stage, message.result)
        case "skipped":
            skipped = message.skipped
            reason = words.SKIP_REASONS.get(skipped.reason, enums.SkipReason.UNKNOWN)
            return results.StageSkipped(stage, reason, skipped.message)
        case "summary":
            summary = message.summary
            return results.SearchSummary(
                final_stage=words.STAGES.get(summary.final_stage, enums.Stage.UNKNOWN)
                if summary.final_stage
                else None,
                total_us=summary.total_us,
                embedding_source=words.SOURCES.get(
                    summary.embedding_source, enums.EmbeddingSource.UNKNOWN
                ),
                warnings=tuple(map(messages.failure, summary.warnings)),
            )
        case _:
            return None


def hits(message: Iterable[stage_pb2.Hit]) -> tuple[results.Hit, ...]:
    """Hits that came back."""
    return tuple(
        results.Hit(
            hit.document_id,
            hit.score,
            hit.movement,
            messages.document(hit.document) if hit.HasField("document") else None,
            hit.settled,
        )
        for hit in message
    )


def failures(
    message: Iterable[document_pb2.DocumentFailure],
) -> tuple[results.DocumentFailure, ...]:
    """The documents that were left out."""
    return tuple(
        results.DocumentFailure(one.document_id, messages.failure(one.failure)) for one in message
    )


def batch_result(
    message: retrieval_service_pb2.BatchSearchResult,
) -> results.StageResult | results.Failure:
    """What became of one query of a batch."""
    match message.WhichOneof("outcome"):
        case "result":
            return _result(words.STAGES.get(message.stage, enums.Stage.UNKNOWN), message.result)
        case "failure":
            return messages.failure(message.failure)
        case _:
            return results.Failure(enums.Reason.UNAVAILABLE, "no stage has a result")


def ranked(message: rerank_service_pb2.RerankResponse) -> results.Ranked:
    """The caller's documents in order."""
    return results.Ranked(
        hits(message.hits), failures(message.failures), _timing(message.timing), message.shortened
    )


def _timing(message: stage_pb2.StageTiming) -> results.StageTiming:
    return results.StageTiming(
        message.total_us,
        message.encode_us,
        message.index_us,
        message.model_us,
        message.model_calls,
        message.model_tokens,
    )


def _result(stage: enums.Stage, message: stage_pb2.StageResult) -> results.StageResult:
    return results.StageResult(
        stage=stage,
        hits=hits(message.hits),
        method=message.method,
        timing=_timing(message.timing),
        context=messages.context(message.context) if message.HasField("context") else None,
        depth=message.depth,
        shortened=message.shortened,
        message=message.message,
        partial=message.partial,
    )


def progress(message: collection_service_pb2.UpsertDocumentsResponse) -> results.UpsertProgress:
    """How far an upsert has come."""
    return results.UpsertProgress(
        message.upserted,
        message.failed,
        failures(message.failures),
    )

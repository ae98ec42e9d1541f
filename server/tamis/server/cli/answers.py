"""What a search found, as it comes: tables for people, JSON for programs."""

import sys
from dataclasses import asdict
from typing import Any

from tamis.client import Context, ContextPart, Event, Hit, SearchSummary, StageResult, StageSkipped
from tamis.server.cli.tables import print_json, print_table, printable

CAPTION = 100  # characters


class TableAnswers:
    """A table for each stage."""

    def show(self, event: Event) -> None:
        """Prints one event."""
        match event:
            case StageResult():
                self._result(event)
            case StageSkipped():
                self._say(f"{event.stage}  skipped: {event.reason}  {printable(event.message)}\n")
            case SearchSummary():
                self._say(
                    f"{event.total_us / 1000:.1f} ms in all, query embedding: "
                    f"{event.embedding_source}"
                )
                for warning in event.warnings:
                    self._say(f"warning: {printable(warning.message)}")

    def _result(self, result: StageResult) -> None:
        timing = result.timing
        parts = {"encode": timing.encode_us, "index": timing.index_us, "model": timing.model_us}
        spent = ", ".join(f"{name} {us / 1000:.1f}" for name, us in parts.items() if us)
        stage = f"{result.stage} so far" if result.partial else result.stage
        title = f"{stage}  {result.method}  {timing.total_us / 1000:.1f} ms"
        if timing.model_calls:
            spent += f", {timing.model_calls} calls, {timing.model_tokens} tokens"
        print_table(
            (">rank", ">moved", ">score", "id", "caption"),
            [_row(rank, hit) for rank, hit in enumerate(result.hits, 1)],
            title + (f" ({spent})" if spent else ""),
        )
        if result.shortened:
            self._say(f"shortened: {printable(result.message) or f'{result.depth} documents'}")
        if result.context is not None:
            self._context(result.context)
        self._say("")

    def _context(self, context: Context) -> None:
        self._say(f"context: {context.tokens_before} -> {context.tokens_after} tokens")
        for part in context.parts:
            self._say(f"  {printable(part.document_id)}  {part.method}  {_payload(part)}")

    def _say(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _row(rank: int, hit: Hit) -> tuple[str, ...]:
    caption = (hit.document.text or "") if hit.document else ""
    return (
        str(rank),
        f"{hit.movement:+d}" if hit.movement else "=",
        f"{hit.score:.4f}",
        hit.document_id,
        _short(caption),
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= CAPTION else line[: CAPTION - 3] + "..."


def _payload(part: ContextPart) -> str:
    if part.text is not None:
        return printable(_short(part.text))
    if part.visual_tokens is not None:
        rows, columns = part.visual_tokens.grid
        return f"{len(part.visual_tokens.positions)} of {rows * columns} visual tokens"
    if part.soft_prompt is not None:
        return f"soft prompt of {part.soft_prompt.shape[0]} vectors"
    return "key-value cache" if part.key_values is not None else "-"


class JsonAnswers:
    """One JSON object for each event."""

    def show(self, event: Event) -> None:
        """Prints one event."""
        match event:
            case StageResult():
                print_json(
                    {
                        "event": "result",
                        "stage": event.stage,
                        "method": event.method,
                        "partial": event.partial,
                        "timing": asdict(event.timing),
                        "depth": event.depth,
                        "shortened": event.shortened,
                        "message": event.message,
                        "hits": [_hit(hit) for hit in event.hits],
                        "context": None if event.context is None else _context(event.context),
                    }
                )
            case StageSkipped():
                print_json({"event": "skipped", **asdict(event)})
            case SearchSummary():
                print_json({"event": "summary", **asdict(event)})


def _hit(hit: Hit) -> dict[str, Any]:
    found: dict[str, Any] = {
        "document_id": hit.document_id,
        "score": hit.score,
        "movement": hit.movement,
    }
    if hit.document is not None:
        found |= {"text": hit.document.text, "metadata": hit.document.metadata}
    return found


def _context(context: Context) -> dict[str, Any]:
    """Texts in full; of numbers only what they are: those who want them use the client."""
    parts = []
    for part in context.parts:
        found: dict[str, Any] = {"document_id": part.document_id, "method": part.method}
        if part.text is not None:
            found["text"] = part.text
        if part.visual_tokens is not None:
            found["positions"] = part.visual_tokens.positions
            found["grid"] = part.visual_tokens.grid
        parts.append(found)
    return {
        "tokens_before": context.tokens_before,
        "tokens_after": context.tokens_after,
        "parts": parts,
    }

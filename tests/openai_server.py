"""A server of the OpenAI protocol, as vLLM speaks it, whose model counts words.

The next word is likelier the more often the prompt has it. Log-probabilities are over the words of
the prompt; a token is a word with the space before it.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = re.compile(r"\s*\S+")


@dataclass
class Endpoint:
    """What the server did.

    Attributes:
        url: Where it is, with the version.
        asked: Path, headers and body of every call.
        broken: What it answers instead, if anything: a status and a body.
    """

    url: str = ""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    broken: tuple[int, bytes] | None = None


def likely(prompt: str) -> dict[str, float]:
    """The log-probability of each of the prompt's words, as the next one."""
    counts = Counter(token.strip() for token in TOKEN.findall(prompt))
    return {f" {word}": math.log(n / counts.total()) for word, n in counts.most_common()}


def best(prompt: str, most: int) -> dict[str, float]:
    return dict(list(likely(prompt).items())[:most])


def completion(body: dict[str, Any]) -> dict[str, Any]:
    prompt = body["prompt"]
    written = "".join(list(likely(prompt))[: body["max_tokens"]])
    choice: dict[str, Any] = {"text": written}
    if body.get("echo"):
        whole = prompt + written
        spans = [match.span() for match in TOKEN.finditer(whole)]
        choice["logprobs"] = {
            "tokens": [whole[a:b] for a, b in spans],
            "text_offset": [a for a, _ in spans],
            "token_logprobs": [
                None if a == 0 else likely(whole[:a]).get(f" {whole[a:b].strip()}", -9.0)
                for a, b in spans
            ],
        }
    elif body.get("logprobs"):
        choice["logprobs"] = {"top_logprobs": [best(prompt, body["logprobs"])]}
    return choice


def chat(body: dict[str, Any]) -> dict[str, Any]:
    def text(content: Any) -> str:
        if isinstance(content, str):
            return content
        return " ".join(part.get("text", "image") for part in content)

    prompt = " ".join(text(turn["content"]) for turn in body["messages"])
    top = [{"token": t, "logprob": p} for t, p in best(prompt, body.get("top_logprobs", 1)).items()]
    written = "".join(list(likely(prompt))[: body["max_tokens"]])
    return {
        "message": {"role": "assistant", "content": written},
        "logprobs": {"content": [{"token": top[0]["token"], "top_logprobs": top}]},
    }


@contextmanager
def openai_server() -> Iterator[Endpoint]:
    """A running server on a port of its own."""
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.asked.append((self.path, dict(self.headers), body))
            status, answer = 200, b""
            if state.broken:
                status, answer = state.broken
            else:
                make = chat if self.path.endswith("chat/completions") else completion
                usage = {"total_tokens": 7}
                answer = json.dumps({"choices": [make(body)], "usage": usage}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

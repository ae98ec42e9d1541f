"""The client of OpenAI-compatible endpoints, against a server that speaks the protocol."""

import base64
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openai_server import Endpoint as Server
from openai_server import likely, openai_server
from PIL import Image

from tamis.models.errors import InputError, ModelError
from tamis.models.runtimes.language import Message, Prompt
from tamis.models.runtimes.openai_endpoint import Endpoint, OpenAIEndpoint
from tamis.models.runtimes.usage import metered


@pytest.fixture
def server() -> Iterator[Server]:
    with openai_server() as running:
        yield running


@pytest.fixture
def model(server: Server) -> Iterator[OpenAIEndpoint]:
    with OpenAIEndpoint(Endpoint(url=server.url, model="words", sees=True)) as opened:
        yield opened


def test_the_likeliest_tokens_have_their_log_probabilities(model: OpenAIEndpoint) -> None:
    """With a space before the word or without; -inf for what the endpoint does not tell."""
    prompts = [Prompt(text="Yes Yes No"), Prompt(prefix="No", text=" No maybe")]
    ids = [model.token_ids(word)[0] for word in ("Yes", "No")]
    found = model.token_log_probabilities(prompts, ids)
    thirds = [math.log(1 / 3), math.log(2 / 3)]
    assert found == pytest.approx(np.array([thirds[::-1], [-np.inf, thirds[1]]]))
    with pytest.raises(ModelError, match="needs logits"):
        model.token_logits(prompts, ids)


def test_conversations_are_sent_as_such(model: OpenAIEndpoint, server: Server) -> None:
    image = Image.new("RGB", (3, 2), "red")
    turns = (Message("system", "be brief"), Message("user", "Yes or No Yes"))
    prompt = Prompt(messages=turns, images=(image,), answer="Yes")
    ids = [model.token_ids("Yes")[0]]
    expected = likely("be brief image Yes or No Yes Yes")[" Yes"]
    assert model.token_log_probabilities([prompt], ids) == pytest.approx(np.array([[expected]]))
    path, _, body = server.asked[0]
    assert path == "/v1/chat/completions"
    system, user, begun = body["messages"]
    assert (system, begun) == (
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": "Yes"},
    )
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    url: str = user["content"][0]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert sent.tobytes() == image.tobytes()
    assert user["content"][1] == {"type": "text", "text": "Yes or No Yes"}


def test_a_span_has_the_log_probabilities_of_its_tokens(model: OpenAIEndpoint) -> None:
    prompt = Prompt(prefix="a fox and", text=" a dog")
    (found,) = model.span_log_likelihoods([prompt], [" a fox"])
    before = "a fox and a dog"
    expected = [likely(before)[" a"], likely(before + " a")[" fox"]]
    assert found == pytest.approx(np.array(expected))
    with pytest.raises(InputError, match="cannot be asked"):
        model.span_log_likelihoods([Prompt(messages=(Message("user", "x"),))], ["y"])


def test_answers_come_in_order_and_end_at_the_mark(model: OpenAIEndpoint) -> None:
    prompts = [Prompt(text=f"{word} {word} stop") for word in "abcdefgh"]
    assert model.generate(prompts, max_tokens=2) == [f" {word} stop" for word in "abcdefgh"]
    assert model.generate(prompts[:1], max_tokens=2, stop=[" stop"]) == [" a"]
    chat = Prompt(messages=(Message("user", "x x y"),))
    assert model.generate([chat], max_tokens=2) == [" x y"]


def test_calls_and_tokens_are_counted(model: OpenAIEndpoint) -> None:
    with metered() as usage:
        model.generate([Prompt(text="a b")] * 3, max_tokens=1)
    assert (usage.calls, usage.tokens) == (3, 21)
    assert usage.model_s > 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ((500, b"oops"), "500"),
        ((200, b"not json"), "completions"),
        ((200, b"{}"), "choices"),
        ((200, b'{"choices": [{}]}'), "not an answer in the protocol"),
    ],
)
def test_a_bad_answer_is_told(
    broken: tuple[int, bytes], message: str, model: OpenAIEndpoint, server: Server
) -> None:
    server.broken = broken
    with pytest.raises(ModelError, match=message):
        model.generate([Prompt(text="a")], max_tokens=1)


def test_nobody_there() -> None:
    with (
        OpenAIEndpoint(Endpoint(url="http://127.0.0.1:9/v1", model="x")) as model,
        pytest.raises(ModelError, match=r"127\.0\.0\.1:9/v1/completions"),
    ):
        model.generate([Prompt(text="a")], max_tokens=1)


def test_the_key_is_read_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Endpoint(url=server.url, model="x", key_variable="TEST_KEY")
    with pytest.raises(ModelError, match="TEST_KEY is not set"):
        OpenAIEndpoint(said)
    monkeypatch.setenv("TEST_KEY", "abc")
    with OpenAIEndpoint(said) as model:
        model.generate([Prompt(text="a")], max_tokens=1)
    headers = {name.lower(): value for name, value in server.asked[0][1].items()}
    assert headers["authorization"] == "Bearer abc"


def test_without_a_tokenizer_bytes_are_counted(model: OpenAIEndpoint) -> None:
    assert model.counts(["abcd", "abcde", ""]) == [1, 2, 0]
    assert model.cut(["abcdefgh", "é" * 9], 1) == ["abcd", "éé"]


@pytest.mark.parametrize("wrong", [{"url": "ftp://x"}, {"connections": 0}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Endpoint(**({"url": "http://x", "model": "m"} | wrong))
    with pytest.raises(ValueError, match="url must begin"):
        Endpoint(url="file:///etc/passwd", model="m")

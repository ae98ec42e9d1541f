"""The command line, as a process of its own, against small servers on a real port."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import NOWHERE, PATH, Run, start, tamis
from fake_server import Collections, Retrieval, Server, ranking, refusing, serving, summary, whole
from grpc import StatusCode

from tamis.client import all_of
from tamis.server.cli.conditions import parse
from tamis.v1 import document_pb2


@pytest.fixture(autouse=True)
def ledger(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run has indexed must not tell another test's run."""
    monkeypatch.setenv("TAMIS_LEDGER", str(tmp_path_factory.mktemp("ledger") / "ledger"))


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["index"],
        ["search"],
        ["collections"],
        ["info"],
        ["demo"],
        ["refine"],
        ["evaluate"],
    ],
)
async def test_help_is_plain_ascii_in_a_pipe(command: list[str]) -> None:
    run = await tamis(*command, "--help")
    assert run.status == 0
    assert run.out.isascii()
    assert "Usage:" in run.out


async def test_help_loads_nothing_heavy() -> None:
    heavy = "{'grpc', 'numpy', 'onnxruntime', 'qdrant_client', 'tamis.client', 'tamis.models'}"
    code = f"import sys, tamis.server.cli.app; print(sorted({heavy} & sys.modules.keys()))"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        env=os.environ | {"PYTHONPATH": PATH},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.strip() == b"[]"


@pytest.mark.parametrize("command", ["info", "collections", "search red -c c", "index . -c c"])
async def test_a_server_that_is_not_there_is_one_line(command: str, tmp_path: Path) -> None:
    put(tmp_path, {"a.txt": b"x"})
    run = await tamis(*command.replace(".", str(tmp_path)).split())
    assert run.status == 1
    assert run.out == ""
    assert run.err.startswith(f"tamis: no answer from {NOWHERE}: ")
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["search", "-c", "c"], "give a text, or --image, or both"),
        (["search", "a", "-c", "c", "--filter", "a~b"], "--filter 'a~b': give field=value"),
        (["search", "-c", "c", "--image", "/no/such.png"], "No such file"),
        (["search", "a", "-c", "c", "--modality", "sound"], "Modality is one of text, image, "),
        (["index", "/no/such", "-c", "c"], "/no/such: no such folder"),
        (["serve", "/no/such.toml"], "/no/such.toml"),
    ],
)
async def test_a_mistake_is_one_line(command: list[str], said: str) -> None:
    run = await tamis(*command)
    assert run.status == 1
    assert said in run.err
    assert run.err.startswith("tamis: ")
    assert run.err.count("\n") == 1


async def test_a_folder_goes_in_with_its_captions(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "birds/robin.png": b"png",
            "birds/robin.txt": b"A robin.\nes.utf8=Un petirrojo.\n",
            "birds/wren.JPG": b"jpg",
            "cats/drawn.svg": b"<svg/>",
            "cats/drawn.txt": b"A drawn cat.\n",
            "notes.md": "# Füchse\n".encode(),
            ".hidden/x.png": b"png",
            "sound.ogg": b"ogg",
        },
    )
    collections = Collections()
    async with serving(collections, Server()) as target:
        run = await tamis("index", str(tmp_path), "-c", "stamps", target=target)
    assert (run.status, run.err) == (0, "")
    assert run.out.startswith("indexed 3 documents in ")
    held = collections.held["stamps"]
    assert sorted(held) == ["birds/robin.png", "birds/wren.JPG", "notes.md"]
    robin, wren, notes = (held[name] for name in sorted(held))
    assert robin.content.text == "A robin."
    assert robin.content.image.data == b"png"
    assert dict(robin.metadata) == {"path": "birds/robin.png", "folder": "birds"}
    assert not wren.content.HasField("text")
    assert notes.content.text == "# Füchse\n"
    assert notes.metadata["folder"] == ""


async def test_files_that_cannot_be_read_are_listed_and_the_others_go_in(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "bad.png": b"refused by the server",
            "empty.png": b"",
            "good.txt": b"words",
            "latin.txt": "Füchse".encode("latin-1"),
            "long.md": b"x" * 1001,
        },
    )
    collections = Collections()
    async with serving(collections, Server()) as target:
        run = await tamis("index", str(tmp_path), "-c", "c", target=target)
    assert run.status == 1
    assert run.out.endswith("into c, 4 failed\n")
    assert sorted(run.err.splitlines()) == [
        "  bad.png: not a picture",
        "  empty.png: it is empty",
        "  latin.txt: it is not a UTF-8 text",
        "  long.md: 1001 bytes; the server takes at most 1000",
    ]
    assert list(collections.held["c"]) == ["good.txt"]


async def test_a_folder_from_which_nothing_goes_in_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, {"bad.png": b"x"})
    async with serving(Collections(), Server()) as target:
        run = await tamis("index", str(tmp_path), "-c", "c", target=target)
    assert run.status == 1
    assert run.err == "  bad.png: not a picture\n"


async def test_a_folder_with_nothing_to_index_says_so(tmp_path: Path) -> None:
    run = await tamis("index", str(tmp_path), "-c", "c")
    assert (run.status, run.err) == (
        1,
        f"tamis: {tmp_path}: no pictures or texts in this folder\n",
    )


async def test_each_stage_is_printed_when_it_comes() -> None:
    """The second stage comes only after the first was seen."""
    seen = asyncio.Event()

    async def slow(request: Any, context: Any) -> None:
        await context.write(ranking(1, "first"))
        await seen.wait()
        await context.write(ranking(2, "second"))
        await context.write(summary())

    async with serving(Retrieval(slow)) as target:
        process = await start("search", "red", "-c", "c", target=target)
        assert process.stdout is not None
        title = await process.stdout.readline()
        assert title == b"retrieve  fake  1.5 ms (model 0.7)\n"
        seen.set()
        rest, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert b"rerank  fake" in rest
    assert b"2.5 ms in all" in rest


async def test_a_search_prints_rank_movement_score_and_id() -> None:
    async with serving(Retrieval(whole)) as target:
        run = await tamis("search", "red", "-c", "c", target=target)
    assert run.status == 0
    assert run.out.isascii()
    lines = run.out.splitlines()
    assert lines[1].split() == ["rank", "moved", "score", "id", "caption"]
    assert lines[2].split() == ["1", "=", "1.0000", "a"]
    assert [line.split() for line in lines if line.startswith("   1")][1][:2] == ["1", "+1"]
    assert "refine  skipped: budget_exceeded  5 ms left" in lines


async def test_a_search_in_json_is_one_object_an_event() -> None:
    async with serving(Retrieval(whole)) as target:
        run = await tamis("search", "red", "-c", "c", "--json", target=target)
    events = [json.loads(line) for line in run.out.splitlines()]
    assert [event["event"] for event in events] == ["result", "result", "skipped", "summary"]
    assert events[1]["hits"][0]["document_id"] == "b"
    assert events[1]["hits"][0]["movement"] == 1
    assert events[3]["final_stage"] == "rerank"


async def test_a_caption_that_the_output_cannot_hold_is_escaped() -> None:
    async def greek(request: Any, context: Any) -> None:
        await context.write(ranking(1, "αβγ"))
        await context.write(summary(1))

    async with serving(Retrieval(greek)) as target:
        run = await tamis("search", "red", "-c", "c", target=target, PYTHONIOENCODING="ascii")
    assert run.status == 0
    assert r"\u03b1\u03b2\u03b3" in run.out


async def test_a_caption_cannot_steer_the_terminal() -> None:
    async def hostile(request: Any, context: Any) -> None:
        await context.write(ranking(1, "\x1b]0;owned\x07", "line\nbreak", "\u202egnp.exe"))
        await context.write(summary(1))

    async with serving(Retrieval(hostile)) as target:
        run = await tamis("search", "red", "-c", "c", target=target)
    assert "\x1b" not in run.out
    assert r"\x1b]0;owned\x07" in run.out
    assert "line break" in run.out
    assert r"\u202egnp.exe" in run.out


async def test_the_search_asks_for_what_the_options_say(tmp_path: Path) -> None:
    put(tmp_path, {"q.png": b"png"})
    servicer = Retrieval(whole)
    options = ["-k", "3", "--pipeline", "fast", "--filter", "author=Bo", "--filter", "year>=1990"]
    options += ["--instruction", "Find it.", "--task", "mbeir/cirr_task7"]
    options += ["--also", "crimson", "--also", "a scarlet one"]
    options += ["--modality", "image", "--modality", "image_text"]
    async with serving(servicer) as target:
        image = str(tmp_path / "q.png")
        run = await tamis("search", "red", "-c", "c", "-i", image, *options, target=target)
    assert run.status == 0
    (request,) = servicer.requests
    assert (request.collection, request.k, request.pipeline) == ("c", 3, "fast")
    assert (request.query.text, request.query.image.data) == ("red", b"png")
    assert (request.query.instruction, request.query.task) == ("Find it.", "mbeir/cirr_task7")
    assert [one.field for one in request.filter.must] == ["author", "year"]
    assert [one.text for one in request.also] == ["crimson", "a scarlet one"]
    assert [*request.modalities] == [
        document_pb2.DOCUMENT_MODALITY_IMAGE, document_pb2.DOCUMENT_MODALITY_IMAGE_TEXT
    ]  # fmt: skip


async def test_what_the_server_refuses_is_one_line() -> None:
    refuses = refusing(StatusCode.NOT_FOUND, "c: no\nsuch collection")
    async with serving(Retrieval(refuses)) as target:
        run = await tamis("search", "red", "-c", "c", target=target)
    assert run == Run(1, "", "tamis: c: no such collection\n")


async def test_collections_can_be_listed_described_and_deleted() -> None:
    collections = Collections()
    collections.held["stamps"] = {}
    async with serving(collections) as target:
        bare = await tamis("collections", target=target)
        listed = await tamis("collections", "list", "--json", target=target)
        described = await tamis("collections", "describe", "stamps", target=target)
        deleted = await tamis("collections", "delete", "stamps", target=target)
        again = await tamis("collections", "delete", "stamps", target=target)
    assert bare.out.splitlines()[1].split() == ["stamps", "0", "mini.dense"]
    assert json.loads(listed.out) == {"name": "stamps", "documents": 0}
    assert described.out.splitlines()[0] == "stamps: 0 documents"
    assert described.out.splitlines()[2].split() == ["mini.dense", "dense", "4", "f"]
    assert deleted.out == "deleted stamps (0 documents)\n"
    assert (again.status, again.err) == (1, "tamis: stamps: no such collection\n")


async def test_an_option_on_the_wrong_side_of_a_command_is_not_ignored() -> None:
    run = await tamis("collections", "--target", "elsewhere:1", "list")
    assert run.status == 2
    assert "give --target and --json after list" in run.err


async def test_info_tells_the_limits() -> None:
    async with serving(Server()) as target:
        run = await tamis("info", target=target)
        asked = await tamis("info", "--json", target=target)
    assert run.out.splitlines()[0] == f"tamis 0.1.0 on {target}, ready"
    assert json.loads(asked.out)["limits"]["max_k"] == 1000


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("author=Bo", {"author": "Bo"}),
        ("author = Bo Li", {"author": "Bo Li"}),
        ("year=1990", {"year": 1990}),
        ('year="1990"', {"year": "1990"}),
        ("public=true", {"public": True}),
        ("a.b!=x", {"a.b": {"not": "x"}}),
        ("year>=1990", {"year": {"gte": 1990}}),
        ("year<2e3", {"year": {"lt": 2000}}),
        ("url=a=b", {"url": "a=b"}),
        ("tag=", {"tag": ""}),
    ],
)
def test_a_condition_reads_as_people_write_it(text: str, test: dict[str, Any]) -> None:
    assert parse([text]) == all_of(test)


@pytest.mark.parametrize("text", ["author", "=x", "year>many", ""])
def test_a_condition_of_no_known_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--filter"):
        parse([text])

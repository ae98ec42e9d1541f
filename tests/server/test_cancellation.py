"""Who is cancelled must end: nothing in the server or the client may swallow it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

import tamis.client
import tamis.server

CATCHES = {"BaseException", "CancelledError"}
FILES = [
    path
    for package in (tamis.server, tamis.client)
    for path in sorted(Path(package.__path__[0]).rglob("*.py"))
]


def names(node: ast.expr | None) -> set[str]:
    """What an `except` clause or a call catches, by the last part of each name."""
    if node is None:
        return {"BaseException"}
    return {
        part.attr if isinstance(part, ast.Attribute) else part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute | ast.Name)
    }


def swallowers(tree: ast.AST) -> Iterator[int]:
    """The lines where a cancellation may end. It comes at an `await`: only coroutines see it."""
    coroutines = (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef))
    for node in (inner for coroutine in coroutines for inner in ast.walk(coroutine)):
        if isinstance(node, ast.ExceptHandler) and names(node.type) & CATCHES:
            if not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                yield node.lineno
        elif (
            isinstance(node, ast.Call)
            and names(node.func) & {"suppress"}
            and any(names(argument) & CATCHES for argument in node.args)
        ):
            yield node.lineno


@pytest.mark.parametrize(
    "path", FILES, ids=[str(path.relative_to(path.parents[2])) for path in FILES]
)
def test_nothing_swallows_a_cancellation(path: Path) -> None:
    assert not list(swallowers(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    pass\nexcept:\n    pass",
        "try:\n    pass\nexcept BaseException:\n    print(1)",
        "try:\n    pass\nexcept (ValueError, asyncio.CancelledError):\n    pass",
        "with contextlib.suppress(asyncio.CancelledError):\n    pass",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert list(swallowers(ast.parse("async def f():\n" + indent(code, "    "))))

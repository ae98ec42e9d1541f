"""A server of one encoder: its representations alone find the documents."""

import json
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.errors import ModelError
from tamis.models.runtimes.folder import NAME
from tamis.models.types import Kind
from tamis.server.own_server import serving

RETRIEVERS = {Kind.DENSE: "dense", Kind.MULTI: "max_sim", Kind.SPARSE: "bm25"}  # by preference

SETTINGS = """\
warm_up_s = 0.0

[encoders.evaluated]
method = {method}
settings = {{ folder = {folder} }}

[pipelines.default.retrieve]
method = {retriever}
settings = {{ vector = {vector} }}
depth = {depth}
"""


@contextmanager
def serving_encoder(folder: Path, depth: int) -> Iterator[str]:
    """Serves an exported encoder and gives where; documents are ordered by one of its heads.

    Args:
        folder: As `tamis export` makes it.
        depth: Documents that a search finds, at least.

    Raises:
        ModelError: The folder is not an encoder's, or it is damaged.
        TamisError: The server does not start.
    """
    settings = _settings(folder.resolve(), depth)
    with tempfile.TemporaryDirectory(prefix="tamis-") as data:
        path = Path(data, "tamis.toml")
        path.write_text(settings, encoding="utf-8")
        with serving(Path(data), path) as target:
            yield target


def _settings(folder: Path, depth: int) -> str:
    try:
        method = tomllib.loads((folder / NAME).read_text(encoding="utf-8")).get("method")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{folder / NAME}: {error}") from error
    if method not in catalog.names(Encoder):
        raise ModelError(f"{folder / NAME}: method: {method!r} is no encoder's")
    heads = catalog.load(Encoder, method, {"folder": str(folder)}, where=str(folder)).heads
    head = min(heads, key=lambda name: list(RETRIEVERS).index(heads[name].kind))
    return SETTINGS.format(
        method=json.dumps(method),  # a JSON text is a TOML one
        folder=json.dumps(str(folder)),
        retriever=json.dumps(RETRIEVERS[heads[head].kind]),
        vector=json.dumps(f"evaluated.{head}"),
        depth=depth,
    )

"""What the layout and the distribution promise."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = {"protos": "v1", "client": "client", "models": "models", "server": "server"}
PATH = os.pathsep.join(str(ROOT / root) for root in ROOTS)
STUBS = sorted(
    f"tamis.v1.{path.stem}" for path in (ROOT / "protos" / "tamis" / "v1").glob("*_pb2*.py")
)
# What `pip install tamis` must not need. `google.rpc` is googleapis-common-protos.
HEAVY = (
    "{'google.rpc', 'jaxtyping', 'numpy', 'onnxruntime', 'PIL', 'redis', 'rich', 'typer', "
    "'tamis.models', 'tamis.server'}"
)
IMPORT_ALL = (
    "import importlib, sys, tamis.client\n"
    f"for stub in {STUBS!r}: importlib.import_module(stub)\n"
    f"print(sorted({HEAVY} & sys.modules.keys()))"
)
NO_NETWORK = re.compile("NameResolution|NewConnection|ConnectTimeout|ProxyError|Connection to")


def run(code: str, path: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Runs the code with these folders on the path; warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": path},
    )


def install(target: Path, *requirements: str) -> None:
    """Installs into a folder; skips the test where there is no package index to reach."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    pip += ["--no-compile", "--retries", "1", "--target", str(target), *requirements]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode and NO_NETWORK.search(done.stderr):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ROOTS)
def test_the_namespace_has_no_init(folder: str) -> None:
    """One __init__.py here would hide the other three folders (PEP 420)."""
    assert not (ROOT / folder / "tamis" / "__init__.py").exists()


@pytest.mark.parametrize("folder", ROOTS)
def test_type_checkers_see_the_types(folder: str) -> None:
    assert (ROOT / folder / "tamis" / ROOTS[folder] / "py.typed").exists()


def test_the_client_loads_only_grpc() -> None:
    done = run(IMPORT_ALL, PATH)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("stub", STUBS)
def test_the_stubs_import_under_the_installed_protobuf(stub: str) -> None:
    assert isinstance(importlib.import_module(stub), ModuleType)


def test_the_oldest_dependencies_suffice(tmp_path: Path) -> None:
    """The floors in pyproject.toml; nothing else of this environment can be seen (-S)."""
    install(tmp_path, "grpcio==1.74.0", "protobuf==6.31.1")
    done = run(IMPORT_ALL, os.pathsep.join([str(tmp_path), PATH]), "-S")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_bare_install_brings_a_client_that_works(tmp_path: Path) -> None:
    """With the newest dependencies, protobuf 7 among them, and without the command line's."""
    install(tmp_path, str(ROOT))
    done = run(IMPORT_ALL, str(tmp_path), "-S")
    assert (done.stdout, done.stderr) == ("[]\n", "")
    version = run("import google.protobuf as p; print(p.__version__)", str(tmp_path), "-S")
    assert version.stdout.startswith("7."), version
    command = run("from tamis.server.cli import main; main()", str(tmp_path), "-S")
    assert command.returncode == 2
    assert command.stderr == (
        "tamis: the command line needs: pip install 'tamis[cli]' (typer is missing)\n"
    )


def test_the_client_exports_what_it_says() -> None:
    import tamis.client

    modules = {path.stem for path in (ROOT / "client" / "tamis" / "client").glob("*.py")}
    public = {name for name in vars(tamis.client) if not name.startswith("_")} - modules
    assert tamis.client.__all__ == sorted(tamis.client.__all__)
    assert set(tamis.client.__all__) == public


def test_methods_md_is_up_to_date() -> None:
    from tamis.models.__main__ import table

    assert (ROOT / "METHODS.md").read_text("utf-8") == table(), "run: make methods"

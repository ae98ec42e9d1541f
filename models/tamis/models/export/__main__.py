"""`python -m tamis.models.export MODEL --out FOLDER`: `tamis export` where there is no server."""

import argparse
import logging
import sys
from pathlib import Path

from tamis.models.errors import TamisError
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export, methods, settings_of
from tamis.models.export.precision import SPELLED


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tamis.models.export", description=__doc__)
    parser.add_argument("model", help="a folder with a published checkpoint, or a hub id")
    parser.add_argument("--out", type=Path, required=True, help="where the model folder goes")
    parser.add_argument("--to", choices=("onnx", "tensorrt"), default="onnx")
    parser.add_argument("--precision", choices=SPELLED, default="fp32")
    parser.add_argument("--method", default="", help=f"one of: {', '.join(methods())}")
    parser.add_argument("--name", default="", help="what to call the model and its space")
    parser.add_argument("--licence", default="unknown", help="of the weights (SPDX)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    said = parser.parse_args()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        options = Options(
            name=said.name, licence=said.licence, precision=SPELLED[said.precision],
            settings=settings_of(said.set),
        )  # fmt: skip
        made = export(said.model, said.out, options, to=said.to, method=said.method, report=print)
    except TamisError as error:
        sys.exit(f"error: {error}")
    print(f"{made.path}: {made.recipe.name}, method {made.recipe.method}, {made.fingerprint}")


if __name__ == "__main__":
    main()

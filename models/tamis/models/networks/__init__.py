"""Torch modules that are exported. Only `networks`, `export` and `train` import torch."""

"""Lists every method with its paper: `python -m tamis.models > METHODS.md`."""

from tamis.models import catalog
from tamis.models.encoders import Encoder
from tamis.models.expanders import Expander
from tamis.models.method import Method
from tamis.models.refiners import Refiner
from tamis.models.rerankers import Reranker
from tamis.models.retrievers import Retriever

FAMILIES: dict[str, type[Method]] = {
    "Encoders": Encoder,
    "Expanders": Expander,
    "Retrievers": Retriever,
    "Rerankers": Reranker,
    "Refiners": Refiner,
}
HEADER = """\
# Methods

Every method that tamis has: one file each, in `models/tamis/models/<family>/<method>.py`. This page
is generated from them by `make methods`.
"""


def table() -> str:
    """METHODS.md."""
    lines = [HEADER]
    for title, family in FAMILIES.items():
        lines += [
            f"## {title}",
            "",
            "| Method | Paper | Checked by | Departs from the paper |",
            "| --- | --- | --- | --- |",
        ]
        for name in catalog.names(family):
            method = catalog.find(family, name)
            paper = method.paper
            source = f"[{paper.title}]({paper.url}), {paper.year}" if paper else "baseline"
            lines.append(f"| `{name}` | {source} | {method.checked} | {method.departs or '-'} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(table(), end="")

"""ColQwen2 as it is served, against the authors' code.

Slower than other tests: torch takes seconds to trace a model's two graphs.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from engines import build_engines
from golden import golden_cases
from golden_vlm import (
    counted,
    model_of,
    page_positions,
    patch_inputs,
    places_of,
    tensors,
    visual_tokens,
    write_colqwen2,
)
from PIL import Image

from tamis.models import catalog
from tamis.models.blocks.similarity import max_sim
from tamis.models.encoders import Encoder
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.prompted import PromptedRecipe
from tamis.models.types import Content, Side

TOLERANCE = 2e-5


class Served(NamedTuple):
    """A case, and its model's folder."""

    case: Path
    folder: ModelFolder[PromptedRecipe]


@pytest.fixture(scope="module", params=golden_cases("colqwen2_model"))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("colqwen2")
    source = write_colqwen2(request.param, folder / "source")
    made = export(source, folder / "served", method="colqwen2")
    return Served(request.param, ModelFolder.open(made.path, PromptedRecipe, "colqwen2"))


def test_graphs_make_the_authors_vectors_and_scores(served: Served) -> None:
    given, expected = tensors(served.case)
    image_token, patching = model_of(served.case)["image_token_id"], served.folder.recipe.patching
    assert patching is not None
    seen = served.folder.session("image").run(patch_inputs(given, patching))["tokens"]
    visual = visual_tokens(seen, given, patching)
    assert np.abs(visual - expected["vision_tokens"]).max() <= TOLERANCE
    positions = {
        "doc": page_positions(given, image_token, patching.merge),
        "query": counted(given["query_ids"], 3),
    }
    rows: dict[str, list[np.ndarray]] = {}
    for side, where in positions.items():
        ids, mask = given[f"{side}_ids"], given[f"{side}_mask"]
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "positions": where,
            "visual": visual,
            "visual_places": places_of(ids, image_token),
        }
        made = served.folder.session("joint").run(inputs)["vectors"]
        assert np.abs(made - expected[f"{side}.embeddings"]).max() <= TOLERANCE
        rows[side] = [own[kept == 1] for own, kept in zip(made, mask, strict=True)]
    scores = np.stack([max_sim(query, rows["doc"]) for query in rows["query"]])
    assert np.abs(scores - expected["scores_masked"]).max() <= 1e-4


def test_pages_of_any_shape_are_encoded_together_as_alone(served: Served) -> None:
    made = catalog.load(Encoder, "colqwen2", {"folder": str(served.folder.path)})
    shapes = [(40, 90), (64, 64), (100, 25)]
    pages = [
        Content(image=Image.linear_gradient("L").resize(shape).convert("RGB")) for shape in shapes
    ]
    contents = [*pages, Content(text="w20 w21")]
    lengths = set()
    together = made.encode(contents, Side.DOCUMENT)
    for content, own in zip(contents, together, strict=True):
        (alone,) = made.encode([content], Side.DOCUMENT)
        rows, same = own.heads["tokens"], alone.heads["tokens"]
        assert isinstance(rows, np.ndarray)
        assert isinstance(same, np.ndarray)
        assert np.abs(rows - same).max() <= 1e-5
        lengths.add(len(rows))
    assert len(lengths) == 4
    assert all(made.cost(page) > 4 for page in pages)


def test_tensorrt_builds_its_engines(served: Served) -> None:
    build_engines(served.folder)

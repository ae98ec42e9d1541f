"""FLMR and PreFLMR as they are served: texts and pictures in, the authors' rows out.

Slower than other tests: torch takes seconds to trace the three graphs of a model.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from engines import build_engines
from golden import golden_cases
from PIL import Image
from tiny_flmr import config_of, inputs_and_outputs, write_flmr

from tamis.models import catalog
from tamis.models.blocks.similarity import max_sim
from tamis.models.encoders import Encoder
from tamis.models.encoders.flmr import FLMR
from tamis.models.errors import ModelError
from tamis.models.export.draft import Options
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import NAME, ModelFolder
from tamis.models.runtimes.late_interaction import filled
from tamis.models.runtimes.multimodal_rows import FLMRRecipe, query_rows
from tamis.models.types import Content, Side

CASES = golden_cases("preflmr") + golden_cases("flmr")
TOLERANCE = 5e-5


class Served(NamedTuple):
    """A case, and its model as it is served."""

    case: Path
    encoder: FLMR
    folder: ModelFolder[FLMRRecipe]


@pytest.fixture(scope="module", params=CASES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    case: Path = request.param
    config, folder = config_of(case), tmp_path_factory.mktemp("flmr")
    options = Options(settings={"document_tokens": str(config["doc_maxlen"])})
    source = write_flmr(case, folder / "source")
    made = export(source, folder / "served", options, method=config["system"])
    encoder = catalog.load(Encoder, config["system"], {"folder": str(made.path)})
    assert isinstance(encoder, FLMR)
    return Served(case, encoder, ModelFolder.open(made.path, FLMRRecipe, config["system"]))


def rows(encoder: FLMR, side: Side, *contents: Content) -> list[np.ndarray]:
    made = [encoding.heads["tokens"] for encoding in encoder.encode(contents, side)]
    assert all(isinstance(one, np.ndarray) for one in made)
    return made  # type: ignore[return-value]


def real(padded: np.ndarray) -> np.ndarray:
    return padded[np.abs(padded).sum(axis=1) > 0]


def texts(case: Path, side: str) -> list[Content]:
    said = json.loads((case / "inputs.json").read_text())
    return [Content(text=text) for text in said[f"{side}_texts"]]


def test_token_ids_are_the_authors(served: Served) -> None:
    given, _ = inputs_and_outputs(served.case)
    recipe, encoder = served.folder.recipe, served.encoder
    asked = [content.text or "" for content in texts(served.case, "query")]
    tokens = encoder._tokenizers[Side.QUERY].encode(asked).marked(recipe.query_marker)
    ids, mask = filled(tokens, recipe)
    assert np.array_equal(ids, given["query_input_ids"])
    assert np.array_equal(mask, given["query_attention_mask"])
    read = [content.text or "" for content in texts(served.case, "context")]
    tokens = encoder._tokenizers[Side.DOCUMENT].encode(read).marked(recipe.document_marker)
    length = tokens.input_ids.shape[1]
    assert np.array_equal(tokens.input_ids, given["context_input_ids"][:, :length])
    assert not given["context_input_ids"][:, length:].any()


def test_rows_of_texts_are_the_authors_and_so_are_their_scores(served: Served) -> None:
    _, expected = inputs_and_outputs(served.case)
    asked = rows(served.encoder, Side.QUERY, *texts(served.case, "query"))
    for made, wanted in zip(asked, expected["q_black.Q"], strict=True):
        assert made.dtype == np.float32
        assert np.abs(made - real(wanted)).max() <= TOLERANCE
    read = rows(served.encoder, Side.DOCUMENT, *texts(served.case, "context"))
    for made, wanted in zip(read, expected["d_text.D"], strict=True):
        assert np.abs(made - real(wanted)).max() <= TOLERANCE
    scores = np.stack([max_sim(query, read) for query in asked])
    assert np.abs(scores - expected["scores.q_black.d_text"]).max() <= 1e-4


def test_graphs_make_the_authors_rows_of_pixels(served: Served) -> None:
    given, expected = inputs_and_outputs(served.case)
    recipe = served.folder.recipe
    sessions = {name: served.folder.session(name) for name in ("image", "query", "document")}
    kept = query_rows(given["query_input_ids"], recipe.instruction_end)
    assert np.array_equal(kept, expected["query_row_mask"] == 1)
    seen = sessions["image"].run({"pixels": given["query_pixel_values"]})
    inputs = {
        "input_ids": given["query_input_ids"],
        "attention_mask": given["query_attention_mask"],
        "features": seen["features"][:, None],
    }
    patches = {"patches": seen["patches"]} if recipe.patches else {}
    made = sessions["query"].run(inputs | patches)
    both = np.concatenate([made["text"] * kept[..., None], made["image"]], axis=1)
    assert np.abs(both - expected["q_both.Q"]).max() <= TOLERANCE
    if "query_pixel_values_roi" in given:
        regions = given["query_pixel_values_roi"]
        flat = sessions["image"].run({"pixels": regions.reshape(-1, *regions.shape[2:])})
        inputs["features"] = flat["features"].reshape(*regions.shape[:2], -1)
        made = sessions["query"].run(inputs)
        both = np.concatenate([made["text"], made["image"]], axis=1)
        assert np.abs(both - expected["q_roi.Q"]).max() <= TOLERANCE
    name = "document_image" if recipe.separate else "image"
    seen = served.folder.session(name).run({"pixels": given["context_pixel_values"]})
    made = sessions["document"].run(
        {
            "input_ids": given["context_input_ids"],
            "attention_mask": given["context_attention_mask"],
            "features": seen["features"][:, None],
        }
    )
    both = np.concatenate([made["image"], made["text"]], axis=1) * expected["d_both.mask"]
    assert np.abs(both - expected["d_both.D"]).max() <= TOLERANCE


def test_a_content_is_encoded_alone_as_among_others(served: Served) -> None:
    image = Image.linear_gradient("L").convert("RGB")
    contents = [
        Content(text="a red bird"),
        Content(text="the tower: what is it?", image=image),
        Content(image=image),
        Content(text="cat"),
    ]
    for side in Side:
        together = rows(served.encoder, side, *contents)
        for content, own in zip(contents, together, strict=True):
            (alone,) = rows(served.encoder, side, content)
            assert own.shape == alone.shape
            assert np.abs(own - alone).max() <= 1e-5
            assert np.linalg.norm(own, axis=1) == pytest.approx(np.ones(len(own)), abs=1e-5)


def test_a_content_has_rows_for_what_it_has(served: Served) -> None:
    image, recipe = Image.new("RGB", (50, 40), (200, 30, 90)), served.folder.recipe
    text, seen, both, none = served.encoder.encode(
        [Content(text="cat"), Content(image=image), Content(text="cat", image=image), Content()],
        Side.DOCUMENT,
    )
    words, picture, all_of_it = (one.heads["tokens"] for one in (text, seen, both))
    assert isinstance(picture, np.ndarray)
    assert isinstance(all_of_it, np.ndarray)
    assert np.allclose(np.concatenate([picture, words]), all_of_it, atol=1e-5)
    assert none.heads == {}
    asked, shown = rows(
        served.encoder, Side.QUERY, Content(text="cat", image=image), Content(image=image)
    )
    assert len(shown) == len(picture) + recipe.patches
    assert len(asked) - len(shown) == recipe.query_tokens


def test_an_instruction_is_read_but_has_no_rows(served: Served) -> None:
    (plain,) = rows(served.encoder, Side.QUERY, Content(text="cat"))
    (asked,) = rows(served.encoder, Side.QUERY, Content(text="cat", instruction="obtain: "))
    if served.folder.recipe.instruction_end is None:
        assert np.array_equal(plain, asked)
    else:
        assert len(plain) - len(asked) == 2  # "obtain" and ":"


def test_rows_up_to_the_first_end_of_an_instruction_do_not_count() -> None:
    ids = np.array([[4, 1, 7, 22, 8, 22, 5], [4, 1, 7, 8, 9, 5, 6], [4, 1, 22, 8, 9, 5, 6]])
    assert query_rows(ids, 22).astype(int).tolist() == [
        [1, 1, 0, 0, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 0, 1, 1, 1, 1],
    ]
    assert query_rows(ids, None).all()


def test_it_says_what_it_costs_and_what_it_leaves_out(served: Served) -> None:
    image, encoder = Image.new("RGB", (9, 9)), served.encoder
    assert encoder.cost(Content(text="a cat", image=image)) >= encoder.cost(Content(text="a cat"))
    assert encoder.truncates(Content(text="cat " * 600))
    assert not encoder.truncates(Content(text="cat"))
    assert encoder.runtime.startswith("onnxruntime")


def test_a_folder_without_a_graph_is_refused(served: Served, tmp_path: Path) -> None:
    shutil.copytree(served.folder.path, tmp_path / "broken")
    told = tmp_path / "broken" / NAME
    lines = [line for line in told.read_text().splitlines() if not line.startswith('"query.onnx"')]
    told.write_text("\n".join(lines))
    with pytest.raises(ModelError, match=r"files: query\.onnx is not one of"):
        catalog.load(Encoder, served.folder.recipe.method, {"folder": str(tmp_path / "broken")})


def test_tensorrt_builds_its_engines(served: Served) -> None:
    build_engines(served.folder)

"""ColPali as it is served, against the authors' code and by what must hold of pages.

Slower than other tests: torch takes seconds to trace a model's two graphs.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from engines import build_engines
from golden import golden_cases
from golden_vlm import counted, model_of, places_of, tensors, write_colpali
from PIL import Image
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tamis.models import catalog
from tamis.models.blocks.token_pooling import token_pooling
from tamis.models.encoders import Encoder
from tamis.models.encoders.colpali import ColPali
from tamis.models.errors import SettingsError
from tamis.models.export.exporting import export
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.prompted import PromptedRecipe
from tamis.models.runtimes.transform import HALF, ImageTransform
from tamis.models.types import Content, Side

TOLERANCE = 2e-5
PAGE = Image.linear_gradient("L").resize((90, 130)).convert("RGB")


class Served(NamedTuple):
    """A case, and its model's folder."""

    case: Path
    folder: ModelFolder[PromptedRecipe]


@pytest.fixture(scope="module", params=golden_cases("colpali_model"))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("colpali")
    source = write_colpali(request.param, folder / "source")
    made = export(source, folder / "served", method="colpali")
    return Served(request.param, ModelFolder.open(made.path, PromptedRecipe, "colpali"))


def encoder(served: Served, **settings: object) -> ColPali:
    made = catalog.load(Encoder, "colpali", {"folder": str(served.folder.path)} | settings)
    assert isinstance(made, ColPali)
    return made


def vectors(made: Encoder, side: Side, *contents: Content) -> list[np.ndarray]:
    found = [encoding.heads["tokens"] for encoding in made.encode(contents, side)]
    assert all(isinstance(one, np.ndarray) for one in found)
    return found  # type: ignore[return-value]


def test_graphs_make_the_authors_vectors(served: Served) -> None:
    given, expected = tensors(served.case)
    image_token = model_of(served.case)["image_token_index"]
    tokens = served.folder.session("image").run({"pixels": given["pixel_values"]})["tokens"]
    visual, joint = tokens.reshape(-1, tokens.shape[-1]), served.folder.session("joint")
    for side, name in (("doc", "doc.embeddings"), ("query", "query.embeddings")):
        ids = given[f"{side}_ids"]
        inputs = {
            "input_ids": ids,
            "attention_mask": given[f"{side}_mask"],
            "positions": counted(ids, 1),
            "visual": visual,
            "visual_places": places_of(ids, image_token),
        }
        made = joint.run(inputs)["vectors"]
        assert np.abs(made - expected[name]).max() <= TOLERANCE
        if side == "doc":
            patches = made * (ids == image_token)[..., None]
            assert np.abs(patches - expected["doc.embeddings_image_only"]).max() <= TOLERANCE


def test_a_page_is_its_patches_and_its_prompt(served: Served) -> None:
    recipe = served.folder.recipe
    (page,) = vectors(encoder(served), Side.DOCUMENT, Content(image=PAGE))
    (patches,) = vectors(encoder(served, image_only=True), Side.DOCUMENT, Content(image=PAGE))
    assert len(patches) == recipe.image_tokens
    assert len(page) > len(patches)
    assert np.array_equal(page[: len(patches)], patches)  # the picture stands first
    assert np.linalg.norm(page, axis=1) == pytest.approx(np.ones(len(page)), abs=1e-5)


def test_a_page_is_encoded_alone_as_among_others(served: Served) -> None:
    made, other = encoder(served), PAGE.rotate(90)
    contents = [Content(image=PAGE), Content(text="w5 w6"), Content(text="w7", image=other)]
    for side in Side:
        for content, own in zip(contents, vectors(made, side, *contents), strict=True):
            (alone,) = vectors(made, side, content)
            assert np.abs(own - alone).max() <= 1e-5
    assert made.encode([Content()], Side.QUERY)[0].heads == {}


def test_documents_are_pooled_and_queries_are_not(served: Served) -> None:
    plain, pooled = encoder(served), encoder(served, pool_factor=3)
    (page,) = vectors(plain, Side.DOCUMENT, Content(image=PAGE))
    (fewer,) = vectors(pooled, Side.DOCUMENT, Content(image=PAGE))
    assert np.array_equal(fewer, token_pooling(page, 3)[0])
    assert len(fewer) == len(page) // 3
    one, same = (vectors(made, Side.QUERY, Content(text="w5"))[0] for made in (plain, pooled))
    assert np.array_equal(one, same)


def test_what_is_done_to_documents_is_in_the_fingerprint(served: Served) -> None:
    settings: list[dict[str, object]] = [{}, {"pool_factor": 2}, {"image_only": True}]
    assert len({encoder(served, **one).fingerprint for one in settings}) == len(settings)


def test_a_pool_factor_below_1_is_refused(served: Served) -> None:
    with pytest.raises(SettingsError, match="pool_factor must be at least 1, not 0"):
        encoder(served, pool_factor=0)


def test_a_query_ends_with_tokens_to_think_with(served: Served) -> None:
    recipe = served.folder.recipe
    assert recipe.templates["query_text"] == "<bos>{text}" + "<pad>" * 10
    short, long = vectors(encoder(served), Side.QUERY, Content(text="w5"), Content(text="w5 w6 w7"))
    assert (len(short), len(long)) == (12, 14)


@pytest.mark.parametrize("size", [(1, 1), (449, 447), (91, 640), (1300, 77)])
def test_pictures_are_prepared_as_the_library_prepares_them(size: tuple[int, int]) -> None:
    """As PaliGemma's processor does, which is SigLIP's at 448 pixels."""
    processor = SiglipImageProcessorPil(
        size={"height": 448, "width": 448},
        resample=Image.Resampling.BICUBIC,
        image_mean=list(HALF),
        image_std=list(HALF),
    )
    noise = Image.effect_noise(size, 70)
    image = Image.merge("RGB", [noise, noise.rotate(180), PAGE.resize(size).getchannel(0)])
    expected = processor(images=[image], return_tensors="np")["pixel_values"][0]
    transform = ImageTransform(resize="stretch", height=448, width=448, mean=HALF, std=HALF)
    assert np.abs(transform(image) - expected).max() <= 1e-6


def test_tensorrt_builds_its_engines(served: Served) -> None:
    build_engines(served.folder)

"""Models from settings."""

from pathlib import Path

import pytest
import tiny_models

from tamis.models import catalog
from tamis.models.errors import ModelError, SettingsError
from tamis.models.rerankers import Reranker
from tamis.models.runtimes.hf.classifier import Classifier
from tamis.models.runtimes.hf.decoder import Decoder
from tamis.models.runtimes.hf.encoder_decoder import EncoderDecoder
from tamis.models.runtimes.language import CrossEncoder, LanguageModel, SequenceClassifier
from tamis.models.runtimes.openai_endpoint import OpenAIEndpoint
from tamis.models.runtimes.opening import ModelOpener


def test_a_checkpoint_says_how_it_is_built(tmp_path: Path) -> None:
    openers = ModelOpener().openers
    for save, kind in (
        (tiny_models.llama, Decoder),
        (tiny_models.llava, Decoder),
        (tiny_models.t5, EncoderDecoder),
    ):
        opened = openers[LanguageModel](str(save(tmp_path / save.__name__)))
        assert type(opened) is kind
        assert opened.reads_images is (save is tiny_models.llava)
    folder = str(tiny_models.llama_classifier(tmp_path / "rank"))
    assert type(openers[SequenceClassifier](folder)) is Classifier


def test_methods_that_name_one_model_share_it(tmp_path: Path) -> None:
    opener = ModelOpener()
    model = {"checkpoint": {"model": str(tiny_models.llama(tmp_path / "llama")), "device": "cpu"}}
    first, second = (
        catalog.load(Reranker, name, {"model": model}, open_as=opener.openers)
        for name in ("tsarankllm", "co_prompt")
    )
    assert getattr(first, "model") is getattr(second, "model")  # noqa: B009


def test_a_url_is_an_endpoint() -> None:
    opened = ModelOpener().openers[LanguageModel]({"url": "http://localhost:9/v1", "model": "x"})
    assert isinstance(opened, OpenAIEndpoint)
    opened.close()


@pytest.mark.parametrize(
    ("kind", "said", "error", "message"),
    [
        (LanguageModel, 3, SettingsError, "model: expected a folder or a table, got 3"),
        (LanguageModel, {"bilt": "x"}, SettingsError, r"model\.bilt: unknown"),
        (LanguageModel, {"url": "x", "model": "m"}, SettingsError, "url must begin with http"),
        (
            LanguageModel,
            {"checkpoint": {"model": "x", "dtype": "int3"}},
            SettingsError,
            r"model\.checkpoint: dtype must be one of",
        ),
        (CrossEncoder, 3, SettingsError, "model: expected a model folder, got 3"),
        (CrossEncoder, "/nowhere", ModelError, "no such file"),
    ],
)
def test_a_bad_setting_names_its_key(
    kind: type, said: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ModelOpener().openers[kind](said)

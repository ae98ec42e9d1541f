"""Training of the small vision-language model: its sequences, its steps, its files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import LlavaForConditionalGeneration  # noqa: E402

from tamis.models.train.easy_vqa import EasyVqa, Question, Words  # noqa: E402
from tamis.models.train.mini_vlm import Recipe, Run, mirrored, names  # noqa: E402
from tamis.models.train.mini_vlm_accuracy import accuracy  # noqa: E402
from tamis.models.train.mini_vlm_model import config, load  # noqa: E402
from tamis.models.train.shared_picture import UNANSWERED, logits, packed, pixels  # noqa: E402

TEXTS = {
    "what color is the shape?": ("red", "blue"),
    "is there a red shape?": ("yes", "no"),
    "does the image not contain a red shape?": ("no", "yes"),
    "what shape is present?": ("rectangle", "rectangle"),
}


def pictures(count: int) -> EasyVqa:
    """Red and blue rectangles in turn, each asked all that there is to ask, the first but once."""
    pixels = np.full((count, 64, 64, 3), 250, dtype=np.uint8)
    pixels[::2, 10:40, 20:50] = (255, 0, 0)
    pixels[1::2, 30:60, 5:30] = (0, 0, 255)
    questions = [
        Question(text, answers[number % 2], number)
        for number in range(count)
        for text, answers in TEXTS.items()
        if number or text.startswith("does")
    ]
    return EasyVqa(pixels, questions)


@pytest.fixture(scope="module")
def data() -> EasyVqa:
    return pictures(4)


@pytest.fixture(scope="module")
def words(data: EasyVqa) -> Words:
    return Words.of(data.questions)


@pytest.fixture(scope="module")
def model(words: Words) -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    made = LlavaForConditionalGeneration(config(words))
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.mul_(4)  # so that an error is seen
    return made.train(False)


SMALL = Recipe(naming_steps=1, naming_batch=4, steps=4, batch=2, warmup_steps=1)


def test_sharing_a_picture_changes_no_answer(
    model: LlavaForConditionalGeneration, data: EasyVqa, words: Words
) -> None:
    """Against Hugging Face's own forward pass, one question at a time."""
    images = pixels(data.pictures)
    with torch.no_grad():
        visual = torch.stack(tuple(model.get_image_features(images).pooler_output))
        together = logits(model, visual, packed(data.by_picture, words))
        alone = [
            model(
                input_ids=torch.tensor([words.prompt(question.text, 64)]),
                pixel_values=images[question.picture][None],
            ).logits[0, -1]
            for question in data.questions
        ]
    assert torch.stack(alone).std() > 0.1
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-5)


def test_answers_stand_at_the_last_words(data: EasyVqa, words: Words) -> None:
    asked = packed(data.by_picture, words)
    known = asked.answers != UNANSWERED
    assert {words.word(i) for i in asked.words[known].tolist()} == {"?"}
    answers = [words.word(i) for i in asked.answers[known].tolist()]
    assert answers == [question.answer for question in data.questions]
    assert (asked.offsets[asked.owners == 0][:3] == torch.arange(3)).all()


def test_accuracy_counts_questions(
    model: LlavaForConditionalGeneration, data: EasyVqa, words: Words
) -> None:
    with torch.no_grad():
        visual = torch.stack(tuple(model.get_image_features(pixels(data.pictures)).pooler_output))
        made = logits(model, visual, packed(data.by_picture, words)).argmax(1)
    told = [words.word(i) for i in made.tolist()]
    # One question is given the answer that the model has, so that some are right.
    questions = [Question(data.questions[0].text, told[0], 0), *data.questions[1:]]
    right = [q.answer == answer for q, answer in zip(questions, told, strict=True)]
    assert 0 < sum(right) < len(right)
    asked = EasyVqa(data.pictures, questions)
    assert accuracy(model, words, asked, batch=3) == pytest.approx(np.mean(right))


def test_training_lowers_the_loss(data: EasyVqa, words: Words) -> None:
    run = Run(data, words, replace(SMALL, naming_steps=0, batch=4))
    losses = [float(run.advance().loss) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    data: EasyVqa, words: Words, tmp_path: Path
) -> None:
    one, other = Run(data, words, SMALL), Run(data, words, SMALL)
    for _ in range(2):
        one.advance()
    one.save(tmp_path)
    other.load(tmp_path)
    assert other.step == 2
    assert float(one.advance().loss) == float(other.advance().loss)


def test_what_is_saved_is_loaded(data: EasyVqa, words: Words, tmp_path: Path) -> None:
    run = Run(data, words, SMALL)
    run.save(tmp_path)
    model, read = load(tmp_path)
    assert read.tokenizer.get_vocab() == words.tokenizer.get_vocab()
    assert not model.training
    theirs = dict(model.named_parameters())
    for name, weight in run.model.named_parameters():
        assert theirs[name].dtype == torch.float32
        torch.testing.assert_close(theirs[name], weight.half().float(), atol=0, rtol=0)


def test_names_are_known_or_left_out() -> None:
    assert names([Question("what is the blue shape?", "circle", 0)]) == (1, 0)
    assert names([Question("is there a red shape?", "no", 0)]) == (UNANSWERED, UNANSWERED)


def test_mirroring_swaps_left_and_right_only(data: EasyVqa) -> None:
    many = np.repeat(data.pictures[:1], 40, axis=0)
    made = mirrored(many, np.random.default_rng(0))
    kept = [(picture == many[0]).all() for picture in made]
    swapped = [(picture == many[0][:, ::-1]).all() for picture in made]
    assert 0 < sum(kept) < 40
    assert sum(kept) + sum(swapped) == 40


def test_the_last_pictures_keep_their_questions() -> None:
    kept, last = pictures(6).split(2)
    assert (len(kept.pictures), len(last.pictures)) == (4, 2)
    assert kept.questions == pictures(4).questions
    assert [q.answer for q in last.by_picture[1]] == [answers[1] for answers in TEXTS.values()]

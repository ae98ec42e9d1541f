"""What exporters of a text and an image tower share: samples to compare on, and the graphs."""

import math
from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from tamis.models.errors import SettingsError
from tamis.models.export.draft import Draft
from tamis.models.export.texts import LENGTHS, TEXTS
from tamis.models.runtimes.tokenizer import Tokenizer
from tamis.models.runtimes.towers import TextRule
from tamis.models.runtimes.transform import ImageTransform
from tamis.models.types import Content, Side

OF_PICTURES = {"pixels": {0: "pictures"}}
SEEN = ("embedding", "visual", "attention")


def write_texts(draft: Draft, network: nn.Module, rule: TextRule) -> None:
    """Writes the `text` graph, after the tokenizer is in the draft.

    Raises:
        ModelError: It cannot be exported, or differs from the network.
    """
    cases = text_cases(draft, rule)
    axes = {name: of_length(LENGTHS, rule) for name in cases[0]}
    draft.graph("text", network, ("embedding",), cases, dynamic=axes)


def write_pictures(
    draft: Draft, network: nn.Module, transform: ImageTransform, outputs: Sequence[str]
) -> None:
    """Writes the `image` graph.

    Raises:
        ModelError: It cannot be exported, or differs from the network.
    """
    draft.graph("image", network, outputs, picture_cases(transform), dynamic=OF_PICTURES)


def write_joint(
    draft: Draft,
    network: nn.Module,
    rule: TextRule,
    cases: Sequence[Mapping[str, Tensor]],
    *,
    alone: bool = False,
) -> None:
    """Writes the `joint` graph of a text's tokens and a picture's states.

    Args:
        draft: Where it goes.
        network: Reads `image` and the inputs that the rule makes.
        rule: How texts are read.
        cases: To export with and to compare on.
        alone: Whether a text may come without any states.

    Raises:
        ModelError: It cannot be exported, or differs from the network.
    """
    axes = {name: of_length(LENGTHS, rule) for name in cases[0]}
    axes["image"] = {0: "texts", 1: "states"} if alone else {0: "texts"}
    draft.graph("joint", network, ("embedding",), cases, dynamic=axes)


def of_length(axes: Mapping[int, str], rule: TextRule) -> dict[int, str]:
    """The axes of a text input that are free: where every text has one length, not that."""
    return {axis: name for axis, name in axes.items() if not (rule.length and axis == 1)}


def text_cases(draft: Draft, rule: TextRule) -> list[dict[str, Tensor]]:
    """Three texts, as the rule makes them inputs, then one alone, then the empty one."""
    tokenizer = Tokenizer.open(draft.folder, max_length=rule.max_tokens)
    made = []
    for texts in (TEXTS[:3], TEXTS[3:4], ("",)):
        read = [rule.text(Content(text=text), Side.DOCUMENT) or "" for text in texts]
        inputs = rule.inputs(tokenizer.encode(read))
        made.append({name: torch.from_numpy(values) for name, values in inputs.items()})
    return made


def picture_cases(transform: ImageTransform) -> list[dict[str, Tensor]]:
    """Two drawn pictures, one alone, and the zeros that may stand for a missing one."""
    pixels = torch.stack([torch.from_numpy(transform(picture)) for picture in pictures()])
    return [{"pixels": batch} for batch in (pixels[:2], pixels[2:], torch.zeros_like(pixels[:1]))]


@torch.no_grad()
def joint_cases(
    draft: Draft, rule: TextRule, states: nn.Module, transform: ImageTransform
) -> list[dict[str, Tensor]]:
    """The texts of `text_cases`, each batch with the states of as many of the pictures."""
    states.eval()
    pixels = torch.stack([torch.from_numpy(transform(picture)) for picture in pictures()])
    seen = states(pixels)
    return [case | {"image": seen[: len(case["input_ids"])]} for case in text_cases(draft, rule)]


def pictures() -> list[Image.Image]:
    """Three pictures: shapes on white, a gradient, and waves; none is square."""
    shapes = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(shapes)
    draw.ellipse((40, 60, 140, 160), fill="red")
    draw.rectangle((180, 30, 290, 200), fill="blue")
    gradient = Image.linear_gradient("L").resize((150, 200)).convert("RGB")
    waves = Image.new("RGB", (200, 120))
    waves.putdata(
        [
            (int(127 + 127 * math.sin(x / 9)), int(127 + 127 * math.cos(y / 7)), (x * y) % 256)
            for y in range(120)
            for x in range(200)
        ]
    )
    return [shapes, gradient, waves]


def chosen(settings: Mapping[str, str], key: str, default: bool) -> bool:
    """A setting that is on or off.

    Raises:
        SettingsError: It is neither.
    """
    said = settings.get(key, str(default)).lower()
    if said not in ("true", "false"):
        raise SettingsError(f"{key} must be true or false, not {said!r}")
    return said == "true"

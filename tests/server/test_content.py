"""Contents as callers send them: checked before anything is decoded, and decoded once."""

import io

import pytest
from PIL import Image

from tamis.models.errors import ImageError, InputError
from tamis.models.types import Modality, Side
from tamis.server.config import Limits
from tamis.server.content import SMALL, RawContent, raw_content
from tamis.v1 import content_pb2 as pb

LIMITS = Limits(max_frames=3, max_image_bytes=1000, max_image_pixels=400)


def picture(colour: str, side: int = 10) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


RED, BLUE = picture("red"), picture("blue")


def video(*frames: bytes) -> pb.Content:
    return pb.Content(frames=[pb.Image(data=frame) for frame in frames])


async def test_frames_arrive_decoded_and_in_their_order() -> None:
    content = raw_content(video(RED, BLUE, RED), LIMITS, where="query")
    assert content.modalities == {Modality.VIDEO}
    decoded = await content.decoded()
    assert [frame.getpixel((0, 0)) for frame in decoded.frames] == [
        (255, 0, 0),
        (0, 0, 255),
        (255, 0, 0),
    ]
    assert decoded.image is None
    assert await content.decoded() is decoded


async def test_a_picture_beside_frames_is_no_frame() -> None:
    content = RawContent("a kite", RED, frames=(BLUE,))
    decoded = await content.decoded()
    assert decoded.modalities == content.modalities == set(Modality)
    assert decoded.image is not None
    assert decoded.image.getpixel((0, 0)) == (255, 0, 0)
    assert len(decoded.frames) == 1


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (video(), "query: is empty; give a text, an image or frames"),
        (video(RED, RED, RED, RED), r"query\.frames: 4 frames; at most 3: choose that many"),
        (video(RED, b""), r"query\.frames\[1\]: is empty"),
        (video(RED, b"x" * 1001), r"query\.frames\[1\]: 1001 bytes; at most 1000"),
        (pb.Content(image=pb.Image()), r"query\.image: is empty"),
    ],
)
def test_what_is_beyond_the_limits_is_refused(message: pb.Content, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        raw_content(message, LIMITS, where="query")


async def test_a_video_has_the_pixels_of_one_picture() -> None:
    await raw_content(video(picture("red", 20)), LIMITS, where="query").decoded()
    large = raw_content(video(picture("red", 18), RED), LIMITS, where="query")
    with pytest.raises(ImageError, match=r"frames\[1\]: 10 x 10 = 100 pixels; at most 76; 1 frame"):
        await large.decoded()


async def test_a_damaged_frame_is_named() -> None:
    with pytest.raises(ImageError, match=r"frames\[1\]: not a picture"):
        await raw_content(video(RED, b"text"), LIMITS, where="query").decoded()


async def test_a_task_is_its_instruction_before_anything_else_sees_it() -> None:
    """So that a cache has one entry for both ways to say it."""
    said = "Retrieve a day-to-day image that aligns with the modification instructions"
    named = raw_content(pb.Content(text="a", task="mbeir/cirr_task7"), LIMITS, where="query")
    spelled = raw_content(pb.Content(text="a", instruction=named.instruction), LIMITS, where="q")
    assert (named.instruction or "").startswith(said)
    assert await named.digest(Side.QUERY) == await spelled.digest(Side.QUERY)
    assert (await named.decoded()).instruction == named.instruction


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (pb.Content(text="a", task="mbeir/cirr_task6"), r"^query\.task: there is no .*cirr_task7"),
        (pb.Content(text="a", task="x" * 300), r"known: m2kr/\.\.\., mbeir/\.\.\.$"),
        (pb.Content(text="a", task=""), "there is no task ''"),
        (pb.Content(text="a", task="m2kr/wit", instruction="b"), "a task or an instruction, not"),
    ],
)
def test_a_task_that_is_not_known_is_refused(message: pb.Content, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        raw_content(message, LIMITS, where="query")


async def test_each_frame_and_their_order_tell_contents_apart() -> None:
    contents = [
        RawContent(frames=(RED, BLUE)),
        RawContent(frames=(BLUE, RED)),
        RawContent(frames=(RED,)),
        RawContent(image=RED),
        RawContent(image=RED, frames=(RED,)),
        RawContent("a", frames=(RED,)),
        RawContent(frames=(RED * SMALL,)),
    ]
    digests = {await content.digest(Side.DOCUMENT) for content in contents}
    assert len(digests) == len(contents)

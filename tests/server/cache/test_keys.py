"""Equal keys must mean equal content of equal making."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from tamis.models.types import Side
from tamis.server.cache import keys


def test_a_key_is_readable() -> None:
    digest = keys.content_digest(side=Side.QUERY, text="a red bicycle")
    assert keys.key(keys.EMBEDDING, "f00d", digest) == f"tamis:1:embedding:f00d:{digest}"
    assert len(digest) == 32


def test_each_part_of_a_content_counts_and_none_is_not_empty() -> None:
    contents = [
        {"side": side, "text": text, "image_digest": image, "instruction": instruction}
        for side in Side
        for text in (None, "", "a", "b")
        for image in (None, b"", b"a")
        for instruction in (None, "", "a")
    ]
    digests = [keys.content_digest(**content) for content in contents]  # type: ignore[arg-type]
    assert len(set(digests)) == len(contents)


def test_parts_do_not_run_into_each_other() -> None:
    splits = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")]
    digests = {
        keys.content_digest(side=Side.QUERY, text=text, instruction=instruction)
        for text, instruction in splits
    }
    assert len(digests) == len(splits)


def test_a_part_cannot_pass_for_the_beginning_of_the_next() -> None:
    one = keys.content_digest(side=Side.QUERY, text="a\1b", image_digest=b"c", instruction="d")
    other = keys.content_digest(side=Side.QUERY, text="a", image_digest=b"b\1c", instruction="d")
    assert one != other


def test_a_content_without_frames_is_named_as_before_there_were_any() -> None:
    digest = keys.content_digest(side=Side.QUERY, text="a red bicycle")
    assert digest == "967b008a2520b07efe7ece77425c854d"


def test_half_a_surrogate_pair_has_a_digest() -> None:
    assert keys.content_digest(side=Side.QUERY, text="\ud83d")


@given(st.lists(st.text(alphabet="a:*?[%\\", min_size=1, max_size=5), min_size=2, unique=True))
def test_no_prefix_covers_the_keys_of_another_fingerprint(fingerprints: list[str]) -> None:
    for one, other in combinations(fingerprints, 2):
        assert not keys.key("embedding", one, "0").startswith(keys.prefix("embedding", other))
        assert not keys.key("embedding", other, "0").startswith(keys.prefix("embedding", one))


@given(st.text(max_size=9))
def test_a_prefix_has_no_wildcards(fingerprint: str) -> None:
    assert not set("*?[]\\") & set(keys.prefix("embedding", fingerprint))

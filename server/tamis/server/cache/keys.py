"""The names under which things are remembered: `tamis:{version}:{kind}:{fingerprint}:{digest}`."""

import hashlib
from urllib.parse import quote

from tamis.models.types import Side
from tamis.server.cache import codec

EMBEDDING = "embedding"
CONTEXT = "context"
VERSIONS = {EMBEDDING: codec.VERSION, CONTEXT: 1}  # of the values' forms


def key(kind: str, fingerprint: str, digest: str) -> str:
    """The key of one entry. Equal keys mean interchangeable values."""
    return f"{prefix(kind, fingerprint)}{digest}"


def prefix(kind: str, fingerprint: str | None = None) -> str:
    """What the keys of one fingerprint begin with, or those of all where it is None.

    The version is that of the values' form: entries outlive releases that do not change it. A colon
    or a wildcard in a fingerprint is quoted, so that no prefix covers another fingerprint's keys.
    """
    of = "" if fingerprint is None else f"{quote(fingerprint, safe='')}:"
    return f"tamis:{VERSIONS[kind]}:{kind}:{of}"


def content_digest(
    *,
    side: Side,
    text: str | None = None,
    image_digest: bytes | None = None,
    instruction: str | None = None,
    frames_digest: bytes | None = None,
) -> str:
    """32 hex digits that tell one content on one side from every other.

    `image_digest` is of the encoded file, `frames_digest` of a video's. They are taken as digests
    because hashing megabytes would hold up the event loop: compute them in a thread.
    """
    digest = hashlib.blake2b(digest_size=16)
    # A content without frames is named as before there were any, so that entries stay valid.
    of_frames = () if frames_digest is None else (frames_digest,)
    for part in (
        side.encode(),
        None if text is None else text.encode(errors="surrogatepass"),
        image_digest,
        None if instruction is None else instruction.encode(errors="surrogatepass"),
        *of_frames,
    ):
        # Presence and length before each part: no two contents have the same concatenation.
        digest.update(b"\0" if part is None else b"\1" + len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()

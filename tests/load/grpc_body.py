"""Writes one gRPC request to stdout, framed for HTTP/2: `python grpc_body.py embed > body.bin`."""

import argparse
import sys

from load_calls import embed_request, infer_request, search_request


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, its length in four bytes, and itself."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=("embed", "oip", "search"))
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--collection", default="demo")
    parser.add_argument("--text", default="a small bird with a red breast, seen from below")
    given = parser.parse_args()
    bodies = {
        "embed": embed_request(given.encoder, given.text),
        "oip": infer_request(given.encoder, given.text),
        "search": search_request(given.collection, given.text),
    }
    sys.stdout.buffer.write(framed(bodies[given.method].SerializeToString()))


if __name__ == "__main__":
    main()

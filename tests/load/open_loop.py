"""Offers calls to a server at a rate and prints what became of them.

    python tests/load/open_loop.py --target localhost:50051 --rate 100 --method search

Calls begin when they are due, however many are under way (an open loop, as users are), and their
times count from when they were due. Exits 1 if no call ended OK.
"""

import argparse
import asyncio
import sys

import uvloop
from load_calls import METHODS, Target
from load_loops import IN_FLIGHT, open_loop, starts
from load_report import Report


def main() -> None:
    """The command."""
    given = arguments().parse_args()
    report = uvloop.run(offered(given))
    print(report.table())
    sys.exit(0 if report.codes["OK"] else 1)


def arguments() -> argparse.ArgumentParser:
    """What may be given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--target", default="localhost:50051", help="the server's host:port")
    add("--method", choices=METHODS, default="search", help="what is called")
    add("--rate", type=positive, default=50.0, help="calls a second, on average")
    add("--duration", type=positive, default=10.0, help="for so many seconds")
    add("--arrivals", choices=("poisson", "constant"), default="poisson", help="how they come")
    add("--deadline", type=positive, default=1.0, help="of each call, in seconds")
    add("--collection", default="demo", help="what is searched")
    add("--encoder", default="minilm", help="what embeds, and the model of ModelInfer")
    add("--distinct", type=int, default=0, help="texts before they repeat; 0: uncached")
    add("--channels", type=int, default=4, help="connections")
    add("--in-flight", type=int, default=IN_FLIGHT, help="calls under way, at most")
    return parser


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


async def offered(given: argparse.Namespace) -> Report:
    """Offers the load, after one call that opens each connection."""
    target = Target(
        address=given.target,
        deadline_s=given.deadline,
        collection=given.collection,
        encoder=given.encoder,
        distinct=given.distinct,
        channels=given.channels,
    )
    async with METHODS[given.method](target) as call:
        await asyncio.gather(*(call(number) for number in range(given.channels)))
        return await open_loop(
            call,
            starts(given.rate, given.duration, given.arrivals),
            deadline_s=given.deadline,
            in_flight=given.in_flight,
        )


if __name__ == "__main__":
    main()

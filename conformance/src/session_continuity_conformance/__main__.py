"""`python -m session_continuity_conformance URL [URL…]`."""

from __future__ import annotations

import argparse
import sys

from session_continuity_conformance.cli import run
from session_continuity_conformance.drivers import DRIVERS


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the suite."""
    parser = argparse.ArgumentParser(
        prog="session-continuity-conformance",
        description="Does a store keep the contract? Exit code 0: conformant, 1: not, 2: nothing could run.",
    )
    parser.add_argument("urls", nargs="*", metavar="URL", help="stores to test, for example memory://test")
    parser.add_argument(
        "--harness", action="append", default=[], metavar="MODULE:NAME", help="code that starts a store"
    )
    parser.add_argument("--mode", action="append", default=[], choices=DRIVERS, help="run in this mode only")
    parser.add_argument("--clause", action="append", default=[], metavar="ID", help="run clauses beginning so")
    parser.add_argument("--explore", type=int, default=0, metavar="N", help="try N other programs per mode")
    parser.add_argument("--seed", type=int, metavar="N", help="the seed of a search to be repeated")
    parser.add_argument("--contract", metavar="MAJOR.MINOR", help="judge by this contract")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON")
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
    parser.add_argument("--markdown", metavar="FILE", help="write a table for a README")
    asked = vars(parser.parse_args(arguments))
    if not (asked["urls"] or asked["harness"]):
        parser.error("name at least one store, for example memory://test")
    return run(asked.pop("urls"), **asked)


if __name__ == "__main__":
    sys.exit(main())

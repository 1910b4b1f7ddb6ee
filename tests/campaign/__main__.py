"""Pages of evidence taken out in turn, all of them; prints a line a story, and ends with 1 when a verdict moved or claimed too much.

`python -m tests.campaign pairs [--build N] [--seed N] [STORY...]`: every pair of pages of every story.
`python -m tests.campaign pages [SITUATION...]`: every single page of every situation, with its trap and without, on every build.
`python -m tests.campaign singles [STORY...]`: every single page of the further stories, on every build.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterator

import lockhound as lh
from lockhound_synth import scenarios
from tests.reader.machines import Answer, dump_bytes, forged
from tests.reader.situations import EVERY
from tests.reader.test_shapes import drivers
from tests.reader.test_situations_removed import removals


def taken_out(name: str, build: int, seed: int, count: int) -> Counter[str]:
    """The verdicts with every set of so many pages out."""
    machine = forged(name, build, seed)
    wanted = machine.truth.verdict
    right = {n for n, _ in drivers(wanted)}
    pages = sorted(set(machine.evidence_pages.values()) - machine.missing)
    outcome: Counter[str] = Counter()
    with lh.open(dump_bytes(name, build, seed, 6)) as dump:
        for pfns in itertools.combinations(pages, count):
            with dump.without_pages(pfns) as reduced:
                got = Answer.of(reduced.investigate(progress=False).to_dict()["verdict"])
            if got.kind == "driver":
                outcome["right" if got.names <= right else "WRONG"] += 1
            else:
                outcome[got.kind if got.kind in ("insufficient", wanted["kind"]) else "WRONG"] += 1
            if outcome["WRONG"] and outcome["WRONG"] < 4:
                print(f"  {name}: frames {pfns}: {got}", file=sys.stderr)
    return outcome


def pages(name: str) -> Counter[str]:
    outcome: Counter[str] = Counter()
    for build, trap in itertools.product(scenarios.ALL_BUILDS, (True, False)):
        for pfns, fault in removals(name, build, trap=trap, pages=None):
            outcome["WRONG" if fault else "right"] += 1
            if fault and outcome["WRONG"] < 4:
                print(f"  {name}: build {build} trap {trap} frames {pfns}: {fault}", file=sys.stderr)
    return outcome


def singles(name: str) -> Counter[str]:
    return sum((taken_out(name, build, 0, 1) for build in scenarios.builds_of(name)), Counter())


def outcomes(options: argparse.Namespace) -> Iterator[tuple[str, Counter[str]]]:
    if options.what == "pages":
        for name in options.stories or EVERY:
            yield name, pages(name)
    elif options.what == "singles":
        for name in options.stories or scenarios.FURTHER:
            yield name, singles(name)
    else:
        for name in options.stories or [*scenarios.NAMES, *scenarios.MORE, *scenarios.FURTHER]:
            if options.build in scenarios.builds_of(name):
                yield name, taken_out(name, options.build, options.seed, 2)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("what", choices=["pairs", "pages", "singles"])
    parser.add_argument("stories", nargs="*", default=[])
    parser.add_argument("--build", type=int, default=19041, choices=scenarios.ALL_BUILDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_intermixed_args(arguments)
    wrong = 0
    for name, outcome in outcomes(options):
        wrong += outcome["WRONG"]
        print(f"{name:40} " + "  ".join(f"{kind} {count}" for kind, count in sorted(outcome.items())), flush=True)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.campaign pairs [--build N] [--seed N] [STORY...]`: every pair of evidence pages of every story taken out in turn.

Prints a line a story and ends with 1 when a verdict moved to another driver or claimed more than is known.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter

import lockhound as lh
from lockhound_synth import scenarios
from tests.reader.machines import Answer, dump_bytes, forged
from tests.reader.test_shapes import drivers


def pairs(name: str, build: int, seed: int) -> Counter[str]:
    machine = forged(name, build, seed)
    wanted = machine.truth.verdict
    right = {n for n, _ in drivers(wanted)}
    pages = sorted(set(machine.evidence_pages.values()) - machine.missing)
    outcome: Counter[str] = Counter()
    with lh.open(dump_bytes(name, build, seed, 6)) as dump:
        for pfns in itertools.combinations(pages, 2):
            with dump.without_pages(pfns) as reduced:
                got = Answer.of(reduced.investigate(progress=False).to_dict()["verdict"])
            if got.kind == "driver":
                outcome["right" if got.names <= right else "WRONG"] += 1
            else:
                outcome[got.kind if got.kind in ("insufficient", wanted["kind"]) else "WRONG"] += 1
            if outcome["WRONG"] and outcome["WRONG"] < 4:
                print(f"  {name}: frames {pfns}: {got}", file=sys.stderr)
    return outcome


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("what", choices=["pairs"])
    parser.add_argument("stories", nargs="*", default=[])
    parser.add_argument("--build", type=int, default=19041, choices=scenarios.ALL_BUILDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_intermixed_args(arguments)
    wrong = 0
    for name in options.stories or [*scenarios.NAMES, *scenarios.MORE]:
        if options.build not in scenarios.builds_of(name):
            continue
        outcome = pairs(name, options.build, options.seed)
        wrong += outcome["WRONG"]
        print(f"{name:24} " + "  ".join(f"{kind} {count}" for kind, count in sorted(outcome.items())), flush=True)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

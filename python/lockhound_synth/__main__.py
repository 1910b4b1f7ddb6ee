"""Command line of the forge: list the scenarios, write one as a dump with its truth beside it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import scenarios
from .containers import TYPES
from .layouts import KERNELS


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m lockhound_synth", description="Writes labelled synthetic Windows dumps.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names of the scenarios")
    write = commands.add_parser("write", help="write a dump")
    write.add_argument("scenario", choices=scenarios.NAMES + scenarios.MORE + scenarios.FURTHER)
    write.add_argument("-o", "--output", type=Path, required=True)
    write.add_argument("--build", type=int, default=19041, choices=scenarios.ALL_BUILDS)
    write.add_argument("--type", type=int, default=6, choices=TYPES)
    write.add_argument("--seed", type=int, default=0)
    write.add_argument("--layout-seed", type=int, help="the same story at other addresses and in other frames")
    write.add_argument("--genuine", action="store_true", help="nt takes the identity of a public symbol file (7601, 19041, 22000)")
    write.add_argument("--truth", type=Path, help="write what is true as JSON")
    write.add_argument("--without", action="append", default=[], metavar="LABEL", help="leave out the page of this evidence")
    write.add_argument("--filler-mib", type=int, default=0, help="more RAM full of noise (type 1)")
    return top


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.command == "list":
        print("\n".join(scenarios.NAMES + scenarios.MORE + scenarios.FURTHER))
        return 0
    if options.genuine and options.build not in KERNELS:
        print(f"no public symbol file for build {options.build}", file=sys.stderr)
        return 2
    if options.build not in scenarios.builds_of(options.scenario):
        print(f"{options.scenario} is told by builds {', '.join(map(str, scenarios.builds_of(options.scenario)))}", file=sys.stderr)
        return 2
    forged = scenarios.build(
        options.scenario, build=options.build, seed=options.seed, genuine=options.genuine, layout_seed=options.layout_seed
    )
    unknown = [label for label in options.without if label not in forged.evidence_pages]
    if unknown:
        print(f"no such evidence: {', '.join(unknown)}; there is {', '.join(sorted(forged.evidence_pages))}", file=sys.stderr)
        return 2
    forged = forged.without(forged.evidence_pages[label] for label in options.without)
    forged.write(options.output, options.type, filler_mib=options.filler_mib)
    if options.truth:
        options.truth.write_text(json.dumps(forged.truth.as_json(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.bench case`, `search` and `sleeper`: times as multiples of what plain C does in the same run."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lockhound as lh
from lockhound_synth import scenarios

from .sleeper import lateness, quantile
from .yardstick import Yardstick, processors, timed

NEEDLES = (1, 4, 64, 1024)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    top.add_argument("what", choices=("case", "search", "sleeper"))
    top.add_argument("--mib", type=int, default=1024, help="memory of noise beside the scenario [1024]")
    top.add_argument("--pairs", type=int, default=9, help="measurements, each beside a sum of its own [9]")
    top.add_argument("--sleeps", type=int, default=4000, help="of the sleeper, beside each kind of work [4000]")
    top.add_argument("--scenario", default="pending_irp", choices=scenarios.NAMES)
    return top


def ratios(yardstick: Yardstick, work: Callable[[], object], pairs: int) -> list[float]:
    """Time of the work over the time of a sum, in pairs that take turns in which comes first. One unmeasured pair warms both up."""
    found = []
    for turn in range(-1, pairs):
        first, second = (yardstick.sum, work) if turn % 2 else (work, yardstick.sum)
        times = timed(first), timed(second)
        if turn >= 0:
            found.append(times[1] / times[0] if turn % 2 else times[0] / times[1])
    return found


def report(name: str, found: list[float]) -> None:
    print(f"{name:<34} {statistics.median(found):6.2f}   ({min(found):.2f} to {max(found):.2f})")


def sleeper_beside(yardstick: Yardstick, dump: lh.Dump, sleeps: int) -> None:
    """A 1 ms sleeper in Python beside a search and beside spinners in C, in turns; and how the two compare."""
    late: dict[str, list[float]] = {"plain C": [], "a search": []}
    for _ in range(4):
        late["plain C"] += lateness(yardstick.spin, sleeps // 4)
        late["a search"] += lateness(partial(dump.search, pool_like(4), progress=False), sleeps // 4)
    print(f"late beside a sleep of 1 ms, {sleeps} sleeps, median and 99.9 %:")
    ends = {name: quantile(sorted(values), 0.999) for name, values in late.items()}
    for name, values in late.items():
        print(f"beside {name:<10} {statistics.median(values) * 1e3:7.3f} ms {ends[name] * 1e3:7.3f} ms")
    print(f"ratio at 99.9 %: {ends['a search'] / ends['plain C']:.2f}")


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MEMORY.DMP"
        scenarios.build(options.scenario).write(path, 1, filler_mib=options.mib)
        with Yardstick(path, processors()) as yardstick, lh.open(path) as dump:
            speed = yardstick.size / min(timed(yardstick.sum) for _ in range(5)) / 1e9
            if options.what == "sleeper":
                sleeper_beside(yardstick, dump, options.sleeps)
                return 0
            print(f"{yardstick.size >> 20} MiB, full dump, warm; {yardstick.threads} threads for both; plain sum {speed:.1f} GB/s")
            print(f"all threads together count {yardstick.scaling():.2f} times as fast as one")
            print(f"multiples of one plain sum, median of {options.pairs} pairs (least to most):")
            if options.what == "case":
                report("whole case, from the path", ratios(yardstick, partial(lh.analyze, path), options.pairs))
                report("whole case, on an open dump", ratios(yardstick, dump.investigate, options.pairs))
            else:
                for count in NEEDLES:
                    report(f"search, {count} needles", ratios(yardstick, partial(dump.search, pool_like(count)), options.pairs))
    return 0


def pool_like(count: int) -> list[int]:
    """Addresses such as a case looks for: aligned to 16, within one terabyte of the kernel half."""
    generator = random.Random(count)
    return sorted({0xFFFF_C000_0000_0000 + (generator.randrange(1 << 40) & ~0xF) for _ in range(count)})


if __name__ == "__main__":
    sys.exit(main())

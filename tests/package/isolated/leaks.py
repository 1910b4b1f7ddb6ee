"""Open, ask, close, in rounds: PATH. Nothing may grow: objects, references to the heap types, descriptors, mappings."""

from __future__ import annotations

import contextlib
import gc
import pickle
import sys
from pathlib import Path

import lockhound as lh
from lockhound import _lockhound

WARM, ROUNDS = 100, 400  # the first rounds fill caches; blocks differ by some hundred between any two moments
TYPES = (lh.Cancel, lh.Column, _lockhound.Dump, _lockhound.Kernel, lh.FormatError, lh.AbsentError, lh.ClosedError)


def one_round(path: str, content: bytes) -> None:
    for source in (path, content):
        with lh.open(source) as dump:
            value = dump.bugcheck.parameters[1]
            kernel = dump.kernel()
            hits = dump.search([value], cancel=lh.Cancel(), progress=lambda _done, _total: None)
            pickle.loads(pickle.dumps(hits[::2]))
            memoryview(hits.physical)
            kernel.process(value)
            kernel.walk(value)
            kernel.modules()
            kernel.read_many(hits.virtual or [], 16)
            kernel.map_physical(hits.physical)
            dump.without_pages([1]).runs()
            for bad in (lambda: dump.read(1 << 60, 1), lambda: dump.search([1], progress=lambda _done, _total: False)):
                try:
                    bad()
                except lh.LockhoundError:
                    pass
                else:
                    raise SystemExit("that should have failed")
        try:
            kernel.read(value, 1)
        except lh.ClosedError:
            pass
        else:
            raise SystemExit("a closed dump answered")
    with contextlib.suppress(lh.LockhoundError):
        lh.open(b"no dump")


def measure() -> dict[str, int]:
    gc.collect()
    counts = {"objects": len(gc.get_objects()), "blocks": sys.getallocatedblocks()}
    counts |= {f"references to {each.__name__}": sys.getrefcount(each) for each in TYPES}
    counts["descriptors"] = len(list(Path("/proc/self/fd").iterdir()))
    counts["mappings of the dump"] = Path("/proc/self/maps").read_text().count(".dmp")
    return counts


def main(path: str) -> None:
    content = Path(path).read_bytes()
    for _ in range(WARM):
        one_round(path, content)
    before = measure()
    for _ in range(ROUNDS):
        one_round(path, content)
    after = measure()
    grown = {name: (before[name], after[name]) for name in before if after[name] - before[name] >= ROUNDS // 2}
    if grown:
        raise SystemExit(f"grown in {ROUNDS} rounds: {grown}")
    print(f"{ROUNDS} rounds, nothing has grown")


if __name__ == "__main__":
    main(sys.argv[1])

"""How late a thread of Python wakes up from a sleep of 1 ms beside work that keeps the processors busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SLEEP = 0.001


def lateness(work: Callable[[], object], sleeps: int) -> list[float]:
    """Seconds that each sleep took beyond its time, sorted, while another thread does the work over and over."""
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            work()

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        late = []
        for _ in range(sleeps):
            began = time.perf_counter()
            time.sleep(SLEEP)
            late.append(time.perf_counter() - began - SLEEP)
    finally:
        over.set()
        thread.join()
    return sorted(late)


def quantile(values: list[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(share * len(values)))]

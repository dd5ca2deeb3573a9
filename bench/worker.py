# SPDX-License-Identifier: Apache-2.0
"""Times benches of the edgekern on its import path, one per line of stdin: the other half of guard.py."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cases import cases


def least_ns(call: Callable[[], object], *, seconds: float = 0.01, series: int = 5) -> float:
    """Nanoseconds per call: the least of `series` blocks that share `seconds`."""
    call()
    start = time.perf_counter_ns()
    call()
    once = max(time.perf_counter_ns() - start, 50)
    block = max(1, int(seconds / series * 1e9 / once))
    best = float("inf")
    for _ in range(series):
        start = time.perf_counter_ns()
        for _ in range(block):
            call()
        best = min(best, (time.perf_counter_ns() - start) / block)
    return best


def main() -> None:
    os.sched_setaffinity(0, {int(sys.argv[1])})
    table = cases()
    gc.disable()
    print(json.dumps(list(table)), flush=True)
    for line in sys.stdin:
        print(json.dumps(least_ns(table[line.strip()])), flush=True)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What `import edgekern` costs beyond NumPy: child processes in turns, medians of their processor time.

An import waits for nothing, so on a quiet core that is its wall time; a busy neighbour moves it far less.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

MOST_MS = 60.0
ROUNDS = 21


def children_ms() -> float:
    """Processor time of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e3


def milliseconds(code: str) -> float:
    """One interpreter from start to end."""
    before = children_ms()
    subprocess.run([sys.executable, "-c", code], check=True)
    return children_ms() - before


def beyond_numpy(code: str, rounds: int = ROUNDS) -> float:
    """Milliseconds that `code` takes above `import numpy`."""
    base, more = "import numpy", f"import numpy\n{code}"
    pairs = [(milliseconds(base), milliseconds(more)) for _ in range(rounds + 1)][1:]  # the first fills the caches
    return statistics.median(b for _, b in pairs) - statistics.median(a for a, _ in pairs)


def test_import_time() -> None:
    spent = beyond_numpy("import edgekern")
    print(f"\nimport edgekern: {spent:.1f} ms above numpy")
    assert spent <= MOST_MS


def test_a_slow_import_is_seen() -> None:
    busy = "import edgekern, time\nwhile time.process_time() < 0.3: pass"
    assert beyond_numpy(busy, rounds=5) > MOST_MS

# SPDX-License-Identifier: Apache-2.0
"""The most memory this process has held.

Not `getrusage`: its figure starts with that of the process that started this one.
"""

from __future__ import annotations

from pathlib import Path


def peak() -> int:
    """Bytes resident at most since the program began; Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

# SPDX-License-Identifier: Apache-2.0
"""`import edgekern` is cheap and quiet: no onnx, no PIL, no thread, no socket."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import sys
events = []
watched = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "urllib.", "_thread.start")
sys.addaudithook(lambda event, _: events.append(event) if event.startswith(watched) else None)
import os, numpy
before = len(os.listdir("/proc/self/task"))
{imports}
after = len(os.listdir("/proc/self/task"))
if after != before:
    print(after - before, "threads started")
for name in ("onnx", "PIL", "flatbuffers", "google.protobuf", "typer", "rich", "cffi", "socket"):
    if name in sys.modules:
        print("imported", name)
for event in sorted(set(events)):
    print("event", event)
"""


def complaints(imports: str) -> list[str]:
    """Run the imports in a fresh interpreter and return what they did that they should not."""
    command = [sys.executable, "-c", PROBE.format(imports=imports)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_import_is_quiet() -> None:
    assert complaints("import edgekern") == []


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("sys.modules['onnx'] = sys", "onnx"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "thread",
        ),
        ("import socket; socket.socket().close()", "socket"),
    ],
)
def test_a_loud_import_is_caught(fault: str, word: str) -> None:
    assert any(word in line for line in complaints(f"import edgekern\n{fault}"))

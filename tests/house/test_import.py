# SPDX-License-Identifier: Apache-2.0
"""Quiet: `import edgekern` brings no onnx, no PIL, no thread, no socket; load, run and the demo open no socket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgekern.artifact import write
from sample_models import every_op

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


def test_dir_shows_the_compiler_without_loading_it() -> None:
    assert complaints("import edgekern\nassert {'compile', 'load', 'errors'} <= set(dir(edgekern))") == []
    loaded = "import edgekern, sys\ndir(edgekern)\nassert 'edgekern.compiler' not in sys.modules"
    assert complaints(loaded) == []


WORK = """
import sys
events = []
calls = ("socket.", "urllib.", "http.", "ftplib.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn")
sys.addaudithook(lambda event, _: events.append(event) if event.startswith(calls) else None)
import numpy as np
import edgekern
{work}
for event in sorted(set(events)):
    print("event", event)
"""
LOAD = "model = edgekern.load({path!r})"
USE = """
frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
model.run(np.zeros((2, *model.inputs[0].shape[1:]), model.inputs[0].dtype))
model.run_image(frame, boxes=[(3, 4, 20, 21)])
model.reference(np.zeros(model.inputs[0].shape, model.inputs[0].dtype))
model.trace(np.zeros(model.inputs[0].shape, model.inputs[0].dtype))
model.profile(rounds=1)
model.memory_plan(), model.provenance, model.report
model.save({path!r} + ".again")
edgekern.SignClassifier().classify_regions(frame, [(3, 4, 20, 21)])
"""
DEMO = """
from edgekern.__main__ import main
assert main(["demo", "--frames", "1", "--out", {path!r} + ".png"]) == 0
"""


def calls_outside(work: str, path: Path) -> list[str]:
    """Run code in a fresh interpreter and return the sockets and processes it asked for."""
    code = WORK.format(work=work.format(path=str(path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("event ")]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.ekm"
    path.write_bytes(write(every_op()))
    return path


def test_load_and_run_open_no_socket(net: Path) -> None:
    assert calls_outside(LOAD + USE, net) == []


@pytest.mark.slow  # under an emulator
def test_the_demo_opens_no_socket(net: Path) -> None:
    for module in ("typer", "rich", "PIL"):
        pytest.importorskip(module, reason="the command line needs the extra `cli`")
    assert calls_outside(DEMO, net) == []
    assert net.with_name("net.ekm.png").exists()


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("import socket; socket.socket().close()", "socket.__new__"),
        ("import socket; socket.getaddrinfo('localhost', 1)", "socket.getaddrinfo"),
        ("import urllib.request; urllib.request.urlopen('data:,x').close()", "urllib.Request"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    ],
)
def test_a_call_outside_is_caught(net: Path, fault: str, word: str) -> None:
    assert f"event {word}" in calls_outside(f"{LOAD}\n{fault}", net)

# SPDX-License-Identifier: Apache-2.0
"""Instructions per inference of whole nets under qemu-user's counting plugin, edgekern beside LiteRT on the same file.

(instructions of a process with 102 inferences - of one with 2) / 100: start-up and loading fall out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
QEMU = "qemu-aarch64"
LITERT = "ai-edge-litert==2.1.6"  # the newest that this qemu runs
NETS = {
    "kws": "models/mlperf_tiny/kws_ref_model.tflite",
    "resnet8": "models/mlperf_tiny/pretrainedResnet_quant.tflite",
    "vww": "models/mlperf_tiny/vww_96_int8.tflite",
    "MobileNetV2 ptq": "models/coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
}
# The last as a core with i8mm and without SVE and SME: on the one before LiteRT takes SME, which no core has that
# edgekern's widest kernels are made for.
CPUS = ("cortex-a53", "cortex-a76", "max,pauth=off", "max,pauth=off,sve=off,sme=off")
KINDS = ("sdot", "smmla", "sve", "sme")
FEW, MANY = 2, 102
DELEGATE = "Created TensorFlow Lite XNNPACK delegate"


@dataclass(frozen=True)
class Count:
    """Executed in a process: instructions, those of each of KINDS; what it said."""

    instructions: int
    kinds: tuple[int, ...]
    said: str


@dataclass(frozen=True)
class Guest:
    """An arm64 Python under qemu-user: its root (.ci/python-root), its packages, the plugin."""

    root: Path
    sites: tuple[Path, ...]
    plugin: Path

    def count(self, cpu: str, model: Path, inferences: int) -> Count:
        python = self.root / "usr/bin" / (self.root / "python-version").read_text().strip()
        env = {
            "PATH": os.environ["PATH"],
            "QEMU_LD_PREFIX": str(self.root),
            "QEMU_CPU": cpu,
            "PYTHONPATH": os.pathsep.join(map(str, self.sites)),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [QEMU, "-plugin", str(self.plugin), str(python), str(HERE / "guest.py"), str(model), str(inferences)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return parsed(done.stderr, done.returncode)


def parsed(said: str, returncode: int = 0) -> Count:
    """What the plugin printed.

    Raises:
        RuntimeError: The process failed, or the plugin printed nothing.
    """
    found = {name: int(count) for name, count in re.findall(r"^(\w+): (\d+)$", said, re.M)}
    if returncode or not {"icount", *KINDS} <= found.keys():
        raise RuntimeError(f"the emulated process ended with {returncode}: {said[-2000:]}")
    return Count(found["icount"], tuple(found[kind] for kind in KINDS), said)


@dataclass(frozen=True)
class Inference:
    """Per inference, one entry of `millions` for each time it was counted."""

    millions: tuple[float, ...]
    kinds: tuple[float, ...]  # thousands of each of KINDS
    delegate: str

    @property
    def median(self) -> float:
        return sorted(self.millions)[len(self.millions) // 2]


def per_inference(guest: Guest, cpu: str, model: Path, times: int) -> Inference:
    """Counts one net on one emulated CPU.

    Raises:
        RuntimeError: LiteRT ran it without XNNPACK, which would be no fair peer.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # no times are taken, so processes may share the machine
        counts = list(pool.map(lambda frames: guest.count(cpu, model, frames), (FEW, MANY) * times))
    pairs = list(zip(counts[::2], counts[1::2], strict=True))
    millions = [(many.instructions - few.instructions) / (MANY - FEW) / 1e6 for few, many in pairs]
    few, many = pairs[-1]
    delegate = next((line for line in many.said.splitlines() if DELEGATE in line), "")
    if model.suffix == ".tflite" and not delegate:
        raise RuntimeError(f"LiteRT made no XNNPACK delegate for {model.name} on {cpu}: {many.said[-500:]}")
    kinds = tuple((m - f) / (MANY - FEW) / 1e3 for m, f in zip(many.kinds, few.kinds, strict=True))
    return Inference(tuple(millions), kinds, delegate)


def plugin(build: Path) -> Path:
    """Compiles the counting plugin."""
    build.mkdir(parents=True, exist_ok=True)
    made = build / "libicount.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(HERE / "icount.c"), "-o", str(made)], check=True)
    return made


def litert_site(build: Path, minor: str) -> Path:
    """Unpacks LiteRT's aarch64 wheel and what it needs into a folder that is kept; NumPy is the tests' own."""
    site = build / ("litert-" + LITERT.split("==")[1])
    if not site.is_dir():
        partial = site.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        platforms = [f"--platform=manylinux{glibc}_aarch64" for glibc in ("_2_28", "_2_27", "_2_17", "2014")]
        command = [
            sys.executable, "-m", "pip", "install", "-q", "--target", str(partial), "--only-binary=:all:", "--no-deps",
            "--no-compile", "--python-version", minor, "--implementation", "cp", *platforms,
            LITERT, "backports.strenum", "tqdm", "flatbuffers", "protobuf", "typing-extensions",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        partial.rename(site)
    return site


def compiled(source: Path, build: Path) -> Path:
    """The .ekm of a TFLite file, the same on every machine."""
    import edgekern as ek

    made = build / f"{source.stem}.ekm"
    ek.compile(source).save(made)
    return made

# SPDX-License-Identifier: Apache-2.0
"""An ISA file stands alone: a few headers, no standard library, no switch over instruction sets."""

from __future__ import annotations

import re
from pathlib import Path

from toolchain import CPP, isa_files

ISA_HEADER_LINES = 150
PLAIN = {"<immintrin.h>", "<arm_neon.h>", "<cstddef>", "<cstdint>"}


def complaints(source: Path) -> list[str]:
    """Return what an ISA file includes or asks that it should not."""
    text, isa = source.read_text(), "_".join(source.stem.split("_")[:2])
    own = f'"kernels/{source.parent.name}/'
    found = []
    for include in re.findall(r"^\s*#\s*include\s+(\S+)", text, re.M):
        if include not in PLAIN and include != f'"kernels/isa/{isa}.h"' and not include.startswith(own):
            found.append(f"{source.name} includes {include}")
    for line in re.findall(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b.*", text, re.M):
        found.append(f"{source.name} asks {line.strip()}")
    if "std::" in text:
        found.append(f"{source.name} uses the standard library")
    return found


def test_isa_files_stand_alone() -> None:
    assert [c for arch in ("x86", "arm") for path in isa_files(arch) for c in complaints(path)] == []


def test_a_dependent_isa_file_is_caught(tmp_path: Path) -> None:
    source = tmp_path / "toy" / "x86_avx2_m1.cc"
    source.parent.mkdir()
    source.write_text(
        '#include <immintrin.h>\n#include <cstdint>\n#include <algorithm>\n#include "kernels/toy/toy.h"\n'
        '#include "kernels/isa/x86_avx2.h"\n#include "kernels/isa/x86_avx512vnni.h"\n#include "base/span.h"\n'
        "#ifdef __AVX512F__\nint x = std::min(1, 2);\n#endif\n"
    )
    assert complaints(source) == [
        "x86_avx2_m1.cc includes <algorithm>",
        'x86_avx2_m1.cc includes "kernels/isa/x86_avx512vnni.h"',
        'x86_avx2_m1.cc includes "base/span.h"',
        "x86_avx2_m1.cc asks #ifdef __AVX512F__",
        "x86_avx2_m1.cc uses the standard library",
    ]


def test_isa_headers_are_short_and_inline() -> None:
    for header in sorted((CPP / "kernels" / "isa").glob("*.h")):
        text = header.read_text()
        assert text.count("\n") <= ISA_HEADER_LINES, header.name
        assert "always_inline" in text or "EK_INLINE " in text, header.name  # compiler.h says what that is

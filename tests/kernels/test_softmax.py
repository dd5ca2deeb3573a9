# SPDX-License-Identifier: Apache-2.0
"""softmax: every row against the NumPy formula, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import Guarded, assert_same

from edgekern import _core, quant

FAMILY = "softmax"
F32 = np.float32
SLACK = 64  # readable bytes behind an arena tensor


def expected(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    e = table[int(x.max()) - x.astype(np.int64)]
    return e.astype(F32) / F32(e.sum(dtype=np.uint64))


def run(kernel, x, table, s_out, clamp, zero, want_floats, want_bytes, flush="tail"):
    source, exps = Guarded.holding(x, flush, SLACK), Guarded.holding(table, flush)
    p, y = Guarded(4 * x.size, flush), Guarded(x.size, flush)
    at = (p.address if want_floats else 0, y.address if want_bytes else 0)
    ran = _core.softmax_run(kernel, source.address, x.size, exps.address, *at, s_out, clamp, zero)
    assert (ran, p.intact(), y.intact(), source.intact()) == (kernel, True, True, True)
    return p.view(F32).copy() if want_floats else None, y.bytes.copy() if want_bytes else None


@pytest.mark.parametrize("c", [1, 2, 3, 5, 8, 10, 16, 17, 43, 64, 100, 1000])
@pytest.mark.parametrize("scale", [0.001, 0.02, 0.1, 1.0, 16.0])
def test_softmax(kernel: str, c: int, scale: float, rng: np.random.Generator) -> None:
    table = quant.exp_table(float(F32(scale)))
    for x in (rng.integers(0, 256, c, np.uint8), np.full(c, 255, np.uint8), np.resize([0, 255], c).astype(np.uint8)):
        p = expected(x, table)
        floats, _ = run(kernel, x, table, 1.0, (0, 255), 0, True, False)
        assert_same(floats.view(np.uint32), p.view(np.uint32), (c, scale))
        for s_out, clamp, zero in ((1 / 256, (0, 255), 0), (float(F32(0.003)), (20, 200), 30)):
            t = np.minimum(np.maximum(p / F32(s_out), F32(clamp[0] - zero)), F32(clamp[1] - zero))
            want = (np.rint(t).astype(np.int32) + zero).astype(np.uint8)
            _, made = run(kernel, x, table, s_out, clamp, zero, False, True, "head")
            assert_same(made, want, (c, scale))


def test_the_sum_may_pass_32_bits(kernel: str) -> None:
    """4096 equal logits sum to 2^35."""
    x = np.full(4096, 9, np.uint8)
    floats, _ = run(kernel, x, quant.exp_table(1.0), 1.0, (0, 255), 0, True, False)
    assert (floats == F32(1 / 4096)).all()

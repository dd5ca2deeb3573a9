# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose weights leave a small L2: several strips of the image share a pass over them."""

from __future__ import annotations

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import Artifact, write
from edgekern.graph import Graph
from edgekern.model import Model
from edgekern.ops import registry
from sample_models import Builder

CAPS = ["scalar", *(name for name in _core.isa_available() if name != "scalar")]

# height, width, channels in, channels out, kernel height and width, stride, dilation, padding, groups
FORMS = {
    "one_batch": (7, 7, 128, 144, (3, 3), 1, 1, 1, 1),
    "batches_of_unequal_size": (41, 9, 128, 132, (3, 3), 1, 1, 1, 1),
    "stride_2": (45, 9, 128, 128, (3, 3), 2, 1, 1, 1),
    "dilation_2": (44, 8, 128, 128, (3, 3), 1, 2, 2, 1),
    "stride_beyond_the_window": (61, 13, 512, 272, (1, 1), 2, 1, 0, 1),
    "groups": (41, 9, 256, 136, (3, 3), 1, 1, 1, 2),
    "a_long_row_in_pieces": (37, 31, 256, 528, (1, 1), 1, 1, 0, 1),
}


def one_conv(form: str) -> Graph:
    h, w, c, n, (kh, kw), stride, dilation, pad, groups = FORMS[form]
    b = Builder((1, h, w, c), 5)
    op = registry()["Conv2D"]((kh, kw), (stride,) * 2, (dilation,) * 2, (pad,) * 4, groups)
    out = [(side + 2 * pad - (k - 1) * dilation - 1) // stride + 1 for side, k in ((h, kh), (w, kw))]
    weights, bias, scale = b.weighted((n, kh, kw, c // groups), n)
    y = b.add(op, ("t0",), (1, *out, n), (weights, bias, (scale / np.sqrt(weights[0].size / 16)).astype(np.float32)))
    assert 2 * weights.nbytes > 256 << 10  # int16 in memory: what the engine takes for large
    return b.graph({"y": y})


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("form", FORMS)
def test_strips_that_share_weights_give_the_reference(form: str, cap: str) -> None:
    graph = one_conv(form)
    model = Model.from_bytes(write(Artifact(graph)), isa=cap)
    x = np.random.default_rng(9).integers(0, 256, graph.types["t0"].shape).astype(np.uint8)
    got = model.run(x, raw=True)
    np.testing.assert_array_equal(got, model.reference(x, raw=True))
    assert len(np.unique(got)) > 200


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("c", [193, 194, 195])
def test_what_others_leave_in_scratch_reaches_no_result(c: int, cap: str) -> None:
    """Steps share scratch, and a k group of 4 takes up to 3 elements behind a row.

    Here the first layer leaves 32767 for each of its pixels, at some widths just there: a weight more, and int16 wraps.
    """
    for width in range(24, 44):
        b = Builder((1, 1, width, 192), width)
        graph = b.graph({"y": b.conv(b.conv("t0", c, 1), 128, 1)})
        model = Model.from_bytes(write(Artifact(graph)), isa=cap)
        x = np.zeros((1, 1, width, 192), np.uint8)
        x[..., :4] = 255, 127, 128, 1  # 255 * 128 + 127 * 1
        np.testing.assert_array_equal(model.run(x, raw=True), model.reference(x, raw=True), err_msg=str(width))


@pytest.mark.skipif("avx2" not in CAPS, reason="no row of this CPU widens its input")
def test_a_pass_is_shared() -> None:
    """Else the test above compares one strip at a time: more rows are held than a strip reads."""
    held = {form: Model.from_bytes(write(Artifact(one_conv(form))), isa="avx2").memory_plan().scratch for form in FORMS}
    for form, scratch in held.items():
        _, w, c, *_ = FORMS[form]
        if form != "a_long_row_in_pieces":
            assert scratch > 2 * (w + 1) * c * 6, (form, scratch)


@pytest.mark.skipif("avx2" not in CAPS, reason="no row of this CPU widens its input")
def test_rows_with_terms_of_their_own_share_a_pass() -> None:
    """Winograd's inner product takes what A alone contributes from scratch, pixel by pixel of every strip of a pass."""
    steps = {form: Model.from_bytes(write(Artifact(one_conv(form))), isa="avx2").plan()[0].kernel for form in FORMS}
    inner = {form for form, kernel in steps.items() if kernel == "qgemm_s16_4x16x4_avx2"}
    assert {"stride_2", "dilation_2", "stride_beyond_the_window", "groups", "a_long_row_in_pieces"} <= inner

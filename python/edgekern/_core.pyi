# SPDX-License-Identifier: Apache-2.0
"""The engine: models and sessions, the frame call, and every kernel by name for tests and benches."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
from typing_extensions import CapsuleType

_Ints: TypeAlias = Sequence[int]

class _Tensor(TypedDict):
    name: str
    dtype: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int

class _Port(_Tensor):
    inside: int

class _Facts(TypedDict):
    format_version: int
    arithmetic_version: int
    op_count: int
    has_preprocess: bool
    has_known_answer: bool
    abstain_threshold: float
    provenance: str

class _Memory(TypedDict):
    weights: int
    arena: int
    scratch: int
    total: int

class _Step(TypedDict):
    name: str
    op: str
    kernel: str
    macs: int
    nanoseconds: float
    predicted_cycles: float
    unfused_cycles: float

class _Opcode(TypedDict):
    name: str
    number: int
    inputs: int
    outputs: int
    constants: int
    params: int

class _Kernel(TypedDict):
    name: str
    family: str
    isa: str
    runs_here: bool

_Buffer: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[Any]
_Buffers: TypeAlias = _Buffer | tuple[_Buffer, ...]

__version__: str

class _Metaclass(type): ...

class Model(metaclass=_Metaclass):
    def __init__(self, data: _Buffer) -> None: ...
    def describe(self) -> _Facts: ...
    def inputs(self) -> list[_Port]: ...
    def outputs(self) -> list[_Port]: ...
    def tensors(self) -> list[_Tensor]: ...
    def labels(self) -> list[str]: ...

class Session(metaclass=_Metaclass):
    def __init__(
        self,
        model: Model,
        isa: str | None = None,
        memory_limit: int = 0,
        threads: int = 1,
        max_batch: int = 1,
        selftest: bool = True,
        trace: bool = False,
        share_all: bool = False,
    ) -> None: ...
    @property
    def handle(self) -> CapsuleType: ...
    def memory(self) -> _Memory: ...
    def ops(self) -> list[_Step]: ...
    def tensor(self, name: str, out: _Buffer) -> None: ...

def opcodes() -> list[_Opcode]: ...
def isa_available() -> list[str]: ...
def kernels() -> list[_Kernel]: ...

# The frame call: buffers, or a tuple of them where there are several.
def run(handle: CapsuleType, inputs: _Buffers, outputs: _Buffers, batch: int, raw: bool, /) -> None: ...
def profile(handle: CapsuleType, inputs: _Buffers, outputs: _Buffers, rounds: int, /) -> None: ...
def run_regions(
    handle: CapsuleType, frame: _Buffer, boxes: _Buffer | None, channels: int, outputs: _Buffers, raw: bool, /
) -> None: ...

# The same bound to one input and one output, each a dtype and a shape: call(x, out) gives the result, or None where
# the arrays are not just that.
def direct(
    handle: CapsuleType,
    array: type[npt.NDArray[Any]],
    empty: Callable[..., npt.NDArray[Any]],
    input: tuple[np.dtype[Any], tuple[int, ...]],
    output: tuple[np.dtype[Any], tuple[int, ...]],
) -> Callable[[object, object], Any]: ...

# Kernels by name, for tests and benches: caller memory by address, nothing is checked.
def dwconv_cycles(name: str, kh: int, kw: int, sx: int, dx: int, c: int, m: int) -> float: ...
def dwconv_fits(
    name: str,
    kh: int,
    kw: int,
    sx: int,
    dx: int,
    c: int,
    m: int,
    unbounded: bool = False,
    dense: bool = False,
    has_minus_128: bool = False,
) -> bool: ...
def dwconv_narrow(kh: int, kw: int, c: int, w: int, bias: int, scale: int) -> bool: ...
def dwconv_pack(
    name: str,
    kh: int,
    kw: int,
    sx: int,
    c: int,
    w: int,
    bias: int,
    scale: int,
    input_zero: int,
    packed: int,
    packed_bias: int,
    packed_scale: int,
) -> None: ...
def dwconv_packed_size(name: str, kh: int, kw: int, sx: int, c: int) -> tuple[Any, ...]: ...
def dwconv_run(
    name: str,
    kh: int,
    kw: int,
    sx: int,
    dx: int,
    m: int,
    c: int,
    rows: Sequence[int],
    in_px: int,
    w: int,
    bias: int,
    scale: int,
    lo: float,
    hi: float,
    zero: int,
    y: int,
    y_px: int,
    rounds: int = 1,
    narrow: bool = False,
) -> str: ...
def dwconv_select(
    kh: int,
    kw: int,
    sx: int,
    dx: int,
    c: int,
    m: int,
    isa: str,
    unbounded: bool = False,
    dense: bool = False,
    has_minus_128: bool = False,
) -> str: ...
def dwconv_unbounded(kh: int, kw: int, c: int, w: int, bias: int, scale: int) -> bool: ...
def edge_run(
    name: str,
    what: str,
    x: int,
    y: int,
    extent: Sequence[int],
    x_stride: Sequence[int],
    y_stride: Sequence[int],
    scale: float,
    zero: int,
    flip: int,
    rounds: int = 1,
) -> str: ...
def edge_select(isa: str) -> str: ...
def eltwise_add(
    name: str,
    a: int,
    b: int,
    y: int,
    px: Sequence[int],
    pixels: int,
    c: int,
    zeros: Sequence[int],
    m: int,
    n: int,
    shift: int,
    clamp: Sequence[int],
    rounds: int = 1,
) -> str: ...
def eltwise_affine(
    name: str,
    x: int,
    y: int,
    px: Sequence[int],
    pixels: int,
    c: int,
    w: int,
    bias: int,
    scale: int,
    clamp: Sequence[int],
    zero_out: int,
    rounds: int = 1,
) -> str: ...
def eltwise_mul(
    name: str,
    a: int,
    b: int,
    y: int,
    px: Sequence[int],
    pixels: int,
    c: int,
    zeros: Sequence[int],
    m: float,
    clamp: Sequence[int],
    rounds: int = 1,
) -> str: ...
def eltwise_select(isa: str) -> str: ...
def eltwise_table(
    name: str, x: int, y: int, px: Sequence[int], pixels: int, c: int, table: int, rounds: int = 1
) -> str: ...
def firstconv_cycles(name: str, kh: int, kw: int, c: int, n: int, m: int, a_px: int = 0) -> float: ...
def firstconv_fits(
    name: str, kh: int, kw: int, c: int, n: int, m: int, a_px: int = 0, has_minus_128: bool = False
) -> bool: ...
def firstconv_pack(
    name: str, w: int, kh: int, row_taps: int, bias: int, scale: int, first: int, columns: int, input_zero: int
) -> tuple[Any, ...]: ...
def firstconv_row(name: str) -> dict[str, Any]: ...
def firstconv_run(
    name: str,
    rows: Sequence[int],
    row_taps: int,
    a_px: int,
    m: int,
    w: int,
    panel_bytes: int,
    bias: int,
    scale: int,
    n: int,
    lo: float,
    hi: float,
    zero: int,
    y: int,
    y_px: int,
    rounds: int = 1,
) -> str: ...
def firstconv_select(
    kh: int, kw: int, c: int, n: int, m: int, isa: str, a_px: int = 0, has_minus_128: bool = False
) -> str: ...
def move_copy(
    name: str,
    x: int,
    y: int,
    extent: Sequence[int],
    x_stride: Sequence[int],
    y_stride: Sequence[int],
    table: int,
    rounds: int = 1,
) -> str: ...
def interpolate_run(
    name: str,
    top: int,
    bottom: int,
    weight: int,
    columns: int,
    m: int,
    c: int,
    x_px: int,
    y: int,
    y_px: int,
    rounds: int = 1,
) -> str: ...
def interpolate_select(isa: str) -> str: ...
def move_halo(
    name: str, shape: Sequence[int], halo: Sequence[int], px: int, row: int, base: int, zero: int, rounds: int = 1
) -> str: ...
def move_select(isa: str) -> str: ...
def pool_mean(
    name: str,
    in_: int,
    /,
    shape: Sequence[int],
    px: int,
    row: int,
    zero_in: int,
    scale: float,
    clamp: Sequence[int],
    zero_out: int,
    y: int,
    rounds: int = 1,
) -> str: ...
def pool_run(
    name: str,
    what: str,
    in_: int,
    /,
    shape: Sequence[int],
    px: int,
    row: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
    oy: int,
    m: int,
    y: int,
    y_px: int,
    clamp: Sequence[int],
    count_include_pad: bool,
    same_scale: bool,
    origin: int,
    zeros: Sequence[int],
    scales: Sequence[float],
    rounds: int = 1,
) -> str: ...
def pool_select(isa: str) -> str: ...
def qgemm_cycles(name: str, m: int, n: int, k: int, has_minus_128: bool, taps: int) -> float: ...
def qgemm_fits(name: str, m: int, n: int, k: int, has_minus_128: bool, taps: int, unbounded: bool = False) -> bool: ...
def qgemm_pack(
    name: str,
    w: int,
    kh: int,
    kw: int,
    kc: int,
    bias: int,
    scale: int,
    first: int,
    columns: int,
    input_zero: int,
) -> tuple[Any, ...]: ...
def qgemm_row(name: str) -> dict[str, Any]: ...
def qgemm_run(
    name: str,
    rows: Sequence[int],
    kh: int,
    kw: int,
    kc: int,
    a_px: int,
    a_kx: int,
    m: int,
    w: int,
    bias: int,
    scale: int,
    n: int,
    lo: float,
    hi: float,
    zero: int,
    y: int,
    y_px: int,
    rounds: int = 1,
    terms: bool = True,
) -> str: ...
def qgemm_select(m: int, n: int, k: int, has_minus_128: bool, taps: int, isa: str, unbounded: bool = False) -> str: ...
def qgemm_unbounded(w: int, n: int, k: int, bias: int, scale: int) -> bool: ...
def qgemm_widen(isa: str, u8: int, count: int, s16: int) -> None: ...
def resize_is_identity(tables: int, channels: int) -> bool: ...
def resize_run(
    name: str,
    box: int,
    row_stride: int,
    width: int,
    height: int,
    src_channels: int,
    channels: int,
    order: Sequence[int],
    gray: bool,
    out_w: int,
    out_h: int,
    table: int,
    y: int,
    y_px: int,
    y_row: int,
    scratch: int,
    rounds: int = 1,
) -> str: ...
def resize_scratch(out_w: int) -> int: ...
def resize_select(isa: str) -> str: ...
def layernorm_run(
    name: str,
    x: int,
    y: int,
    px: Sequence[int],
    pixels: int,
    c: int,
    epsilon: float,
    g: int,
    b: int,
    clamp: Sequence[int],
    zero_out: int,
    rounds: int = 1,
) -> str: ...
def layernorm_select(isa: str) -> str: ...
def softmax_run(
    name: str,
    x: int,
    c: int,
    table: int,
    p: int,
    y: int,
    s_out: float,
    clamp: Sequence[int],
    zero_out: int,
    rounds: int = 1,
) -> str: ...
def softmax_select(isa: str) -> str: ...
def wide_conv(name: str, planes: _Ints, tile: _Ints, panel: _Ints, out: _Ints, y: _Ints, rounds: int = 1) -> str: ...
def wide_dwconv(
    name: str,
    rows: _Ints,
    shape: _Ints,
    steps: _Ints,
    input: _Ints,
    weights: _Ints,
    out: _Ints,
    y: _Ints,
    rounds: int = 1,
) -> str: ...
def wide_mean(name: str, x: _Ints, shape: _Ints, m: float, out: _Ints, y: int, rounds: int = 1) -> str: ...
def wide_move(
    name: str, at: _Ints, extent: _Ints, x_stride: _Ints, y_stride: _Ints, input: _Ints, m: float, out: _Ints
) -> str: ...
def wide_pack(name: str, w: int, k: int, bias: int, scale: int, first: int, columns: int) -> tuple[Any, ...]: ...
def wide_pairs(
    name: str,
    what: str,
    a: _Ints,
    b: _Ints,
    size: _Ints,
    ratios: Sequence[float],
    out: _Ints,
    y: _Ints,
    rounds: int = 1,
) -> str: ...
def wide_row(name: str) -> dict[str, int]: ...
def wide_select(isa: str) -> str: ...
def wide_split(x: int, count: int, zero: int, high: int, low: int) -> None: ...
def winograd_cycles(name: str, h: int, w: int, c: int, n: int) -> float: ...
def winograd_pack(
    name: str, w: int, c: int, bias: int, scale: int, first: int, columns: int, input_zero: int
) -> tuple[Any, ...]: ...
def winograd_row(name: str) -> dict[str, Any]: ...
def winograd_run(
    name: str,
    rows: Sequence[int],
    strip: Sequence[int],
    v: int,
    sums: int,
    packed: Sequence[int],
    n: int,
    out: Sequence[float],
    to: Sequence[int],
    rounds: int = 1,
) -> str: ...
def winograd_select(h: int, w: int, c: int, n: int, isa: str) -> str: ...

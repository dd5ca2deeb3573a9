# SPDX-License-Identifier: Apache-2.0
"""The C ABI of edgekern.h through cffi, as any C program sees it. Needs the extra `cffi`.

from edgekern import capi
model = capi.ffi.new("ek_model **")
capi.check(capi.lib.ek_model_load_file(b"net.ekm", model))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekern import _core
from edgekern.errors import EdgekernError

try:
    import cffi
except ModuleNotFoundError as missing:
    raise ImportError("edgekern.capi needs pip install 'edgekern[cffi]'") from missing

__all__ = ["check", "ffi", "lib"]

ffi: Any = cffi.FFI()
ffi.cdef(Path(_core.__file__).with_name("edgekern.cdef").read_text("utf-8"))
lib: Any = ffi.dlopen(_core.__file__)


def check(status: int) -> None:
    """Raises the library's own words where `status` is a failure.

    Raises:
        EdgekernError: Always of this class; its code is "EK9000" plus the status.
    """
    if status != lib.EK_OK:
        raise EdgekernError(ffi.string(lib.ek_last_error()).decode("utf-8", "replace"), code=f"EK{9000 + status}")

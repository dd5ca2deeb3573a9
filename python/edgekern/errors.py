# SPDX-License-Identifier: Apache-2.0
"""Every error edgekern raises. A message says what, where and what to do; `code` is stable."""

from __future__ import annotations

__all__ = [
    "AccuracyError",
    "CompileError",
    "CorruptModelError",
    "EdgekernError",
    "InputError",
    "IsaError",
    "MemoryLimitError",
    "ModelFormatError",
    "QuantizationError",
    "SelfTestError",
    "ShapeError",
    "UnsupportedOpError",
    "VersionError",
]


class EdgekernError(Exception):
    """Base of all errors of this package.

    Attributes:
        code: Stable identifier, such as "EK2101".
        hint: What to do about it; may be empty.

    >>> try:
    ...     ek.SignClassifier(isa="avx9")
    ... except ek.EdgekernError as error:
    ...     print(type(error).__name__)
    IsaError
    """

    code: str = "EK0000"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        text = f"{super().__str__()} ({self.code})"
        return f"{text} {self.hint}" if self.hint else text


class CompileError(EdgekernError, ValueError):
    """The source model cannot be compiled."""

    code = "EK2000"


class UnsupportedOpError(CompileError):
    """The source model uses an operator, attribute or type that edgekern does not run."""

    code = "EK2100"


class ShapeError(CompileError):
    """Shapes in the source model do not fit together, or are not fixed."""

    code = "EK2200"


class QuantizationError(CompileError):
    """A tensor cannot be brought to int8, such as by a range that is not finite."""

    code = "EK2300"


class AccuracyError(CompileError):
    """The integer network is less accurate than the caller allows.

    Attributes:
        report: The `Report` of what was refused; its `costs` say which layers lose what.
    """

    code = "EK2400"

    def __init__(self, message: str, *, hint: str = "", report: object = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report


class ModelFormatError(EdgekernError, ValueError):
    """A model file cannot be used.

    Attributes:
        offset: Byte offset in the file where the fault lies.
        field: Name of the field there.
    """

    code = "EK3000"

    def __init__(
        self,
        message: str,
        *,
        offset: int = 0,
        field: str = "",
        hint: str = "",
        code: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.offset = offset
        self.field = field


class VersionError(ModelFormatError):
    """The file was written by a newer edgekern than this one."""

    code = "EK3100"


class CorruptModelError(ModelFormatError):
    """The file breaks a rule of the format."""

    code = "EK3200"


class SelfTestError(ModelFormatError):
    """The known answer in the file differs from what this machine computed."""

    code = "EK3300"


class IsaError(EdgekernError, ValueError):
    """An instruction set was asked for that is unknown or absent on this CPU."""

    code = "EK4000"


class InputError(EdgekernError, ValueError):
    """An argument has the wrong shape, type, size or value."""

    code = "EK5000"


class MemoryLimitError(EdgekernError, MemoryError):
    """The model needs more memory than the limit allows; nothing was allocated."""

    code = "EK6000"

# SPDX-License-Identifier: Apache-2.0
"""Foreign model files -> float graphs."""

from __future__ import annotations

from edgekern.importers.onnx import import_onnx

__all__ = ["import_onnx"]

# SPDX-License-Identifier: Apache-2.0
"""From sample inputs to ranges of tensors, scales of weights and corrected biases."""

from __future__ import annotations

# SPDX-License-Identifier: Apache-2.0
"""The model file `.ekm`: what is in it, and both directions between it and bytes (mirrors cpp/model)."""

from __future__ import annotations

from edgekern.artifact.artifact import Artifact, Decision, KnownAnswer
from edgekern.artifact.reader import read
from edgekern.artifact.writer import write

__all__ = ["Artifact", "Decision", "KnownAnswer", "read", "write"]

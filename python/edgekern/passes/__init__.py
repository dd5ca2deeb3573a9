# SPDX-License-Identifier: Apache-2.0
"""Graph -> graph, one pass per file, each with a function `run`. The order is the list in `edgekern.compiler`."""

from __future__ import annotations

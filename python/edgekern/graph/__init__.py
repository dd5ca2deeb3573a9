# SPDX-License-Identifier: Apache-2.0
"""The graph as data, and its NumPy runner."""

from __future__ import annotations

from edgekern.graph.graph import Graph, Node, Port

__all__ = ["Graph", "Node", "Port"]

# SPDX-License-Identifier: Apache-2.0
"""`edgekern kernels`: every kernel of this build."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from edgekern import _core
from edgekern.cli.screen import Json, print_json, print_table


def kernels(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table for a document.")] = False,
    as_json: Json = False,
) -> None:
    """List every kernel of this build and whether this CPU can run it."""
    here = {*_core.isa_available(), "scalar"}
    rows = [{**row, "runs_here": set(row["isa"].split(",")) <= here | {""}} for row in _core.kernels()]
    if as_json:
        print_json(rows)
        return
    columns = ("family", "kernel", "instruction set", "runs here")
    cells = [[str(r["family"]), str(r["name"]), str(r["isa"]), "yes" if r["runs_here"] else "no"] for r in rows]
    if markdown:
        typer.echo(as_markdown(columns[:3], [cell[:3] for cell in cells]))
    else:
        print_table("", columns, cells, left=4)


def as_markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Gives a Markdown table.

    >>> print(as_markdown(["a", "b"], [("1", "2")]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

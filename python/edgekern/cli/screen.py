# SPDX-License-Identifier: Apache-2.0
"""Prints tables, JSON and progress the same way for every command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, track
from rich.table import Table
from rich.text import Text

from edgekern.report import shown_name

__all__ = ["Json", "Text", "print_json", "print_table", "say", "steps", "tail", "working"]

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

WIDTH_OF_A_FILE = 160  # columns when the output is not a terminal


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_A_FILE
    return console


def say(text: str, style: str = "") -> None:
    """Prints one line or paragraph as it is, in a style of rich such as "bold" or "red"."""
    _console().print(Text(text, style=style), soft_wrap=True)


def tail(name: str, most: int = 30) -> str:
    """Shortens a long name at its front: layers differ at their ends. Of joined names it takes the first.

    >>> tail("/net/features/features.1/Conv", 12)
    '...es.1/Conv'
    >>> tail("net/Relu;net/batch_norm;net/conv")
    'net/Relu;…'
    """
    name = shown_name(name)
    return name if len(name) <= most else "..." + name[3 - most :]


def print_json(data: Any) -> None:
    """Prints data as indented JSON."""
    typer.echo(json.dumps(data, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, left: int = 1) -> None:
    """Prints a table whose first `left` columns are text and whose others are numbers."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < left else "right")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    _console().print(table)


@contextmanager
def steps(text: Mapping[str, str], totals: Mapping[str, int]) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per step on a terminal's stderr, for a callback (what, how many done, of how many; 0 if unknown).

    Args:
        text: What each step is called on the screen.
        totals: Of steps that do not know theirs.
    """
    console = _console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(text.get(what, what))
            bars.update(tasks[what], completed=done, total=total or totals.get(what))

        yield show


def working(items: Iterable[T], text: str, total: int | None = None) -> Iterator[T]:
    """Passes the items on and shows a progress bar on a terminal's stderr."""
    console = _console(stderr=True)
    yield from track(items, text, total=total, console=console, transient=True, disable=not console.is_terminal)

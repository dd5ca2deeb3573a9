# SPDX-License-Identifier: Apache-2.0
"""The command line: one file per command; typer, rich and Pillow come with the extra `cli`.

Importing this package needs none of them, so that `doctor` works on the base install and every
other command can name the extra it lacks.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["COMMANDS", "EXTRAS", "build", "missing_extras", "plain_doctor"]

COMMANDS = ("demo", "classify", "compile", "inspect", "bench", "eval", "kernels", "doctor")
EXTRAS = {
    "cli": ("typer", "rich", "PIL"),
    "compile": ("onnx", "tflite"),
    "cffi": ("cffi",),
}


def missing_extras(command: str) -> list[str]:
    """Names the extras that a command needs and that are not installed.

    >>> missing_extras("no such command") in ([], ["cli"])
    True
    """
    needed = ("cli", "compile") if command == "compile" else ("cli",)
    return [extra for extra in needed if any(find_spec(m) is None for m in EXTRAS[extra])]


def plain_doctor(arguments: list[str]) -> int:
    """Runs `doctor` without typer and gives its exit status."""
    from edgekern.cli.doctor import doctor

    options = [a for a in arguments if a != "doctor"]
    if wrong := [a for a in options if a != "--json"]:
        print(f"edgekern doctor knows only --json, not {wrong[0]}", file=sys.stderr)
        return 2
    return 0 if doctor(as_json="--json" in options) else 1


def build() -> typer.Typer:
    """Makes the typer application; needs the extra `cli`."""
    import typer

    from edgekern.cli.bench import bench
    from edgekern.cli.classify import classify
    from edgekern.cli.compile import compile
    from edgekern.cli.demo import demo
    from edgekern.cli.eval import eval
    from edgekern.cli.inspect import inspect
    from edgekern.cli.kernels import kernels

    app = typer.Typer(
        name="edgekern",
        help="Exact int8 neural networks on the CPU: compile once, the same bytes everywhere.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for command in (demo, classify, compile, inspect, bench, eval, kernels):
        app.command()(command)

    @app.command()
    def doctor(
        as_json: bool = typer.Option(False, "--json", help="Print JSON instead of text."),
    ) -> None:
        """Check this installation: version, CPU, extras, the bundled model's self-test."""
        from edgekern.cli.doctor import doctor

        if not doctor(as_json=as_json):
            raise typer.Exit(1)

    @app.callback(invoke_without_command=True)
    def version(
        show: bool = typer.Option(False, "--version", help="Print the version and exit."),
    ) -> None:
        if show:
            from edgekern import __version__

            typer.echo(f"edgekern {__version__}")
            raise typer.Exit

    return app

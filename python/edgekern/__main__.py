# SPDX-License-Identifier: Apache-2.0
"""Runs the command line: `edgekern ...` and `python -m edgekern ...`."""

from __future__ import annotations

import sys

from edgekern import cli
from edgekern.errors import EdgekernError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: of the command line without the program's name; `sys.argv` if None.

    Returns:
        The exit status: 0 good, 1 refused, 2 wrong usage or an extra that is not installed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    command = next((a for a in arguments if not a.startswith("-")), "")
    if missing := cli.missing_extras(command):
        if command == "doctor":  # works on the base install
            return cli.plain_doctor(arguments)
        name = f"edgekern {command}" if command in cli.COMMANDS else "edgekern"
        print(f"{name} needs pip install 'edgekern[{','.join(missing)}]'", file=sys.stderr)
        return 2
    try:
        cli.build()(arguments, prog_name="edgekern")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except EdgekernError as error:
        print(f"edgekern: {error.args[0]} ({error.code})", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as `head`, has seen enough
    except OSError as error:
        print(f"edgekern: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

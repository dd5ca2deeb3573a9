# SPDX-License-Identifier: Apache-2.0
"""Import arrows point one way: errors, types -> quant -> graph -> ops -> passes, … -> compiler -> wings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "edgekern"
# A unit imports only units of a lower rank (and itself).
RANK = {
    "errors": 0,
    "_core": 0,
    "types": 1,
    "quant": 2,
    "report": 2,
    "preprocess": 3,
    "arguments": 4,
    "graph": 4,
    "ops": 5,
    "artifact": 6,
    "importers": 6,
    "passes": 6,
    "calibrate": 6,
    "plan": 2,
    "model": 7,
    "capi": 7,
    "record": 7,
    "settings": 7,
    "quantiser": 8,
    "acceptance": 9,
    "compiler": 10,
    "signs": 11,
    "cli": 12,
    "__init__": 13,
    "__main__": 13,
}
COMPILER = {"importers", "passes", "calibrate", "settings", "quantiser", "record", "acceptance", "compiler"}


def imports(path: Path, root: Path) -> Iterator[tuple[str, bool, int]]:
    """Yield (imported edgekern unit, whether it runs at import time, line) of one file."""
    package = [PACKAGE, *path.relative_to(root).parent.parts]
    tree = ast.parse(path.read_text())

    def walk(node: ast.AST, eager: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.Import):
                names = [alias.name.split(".") for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                origin = package[: len(package) - child.level + 1] if child.level else []
                origin = [*origin, *(child.module.split(".") if child.module else [])]
                whole = origin == [PACKAGE]
                names = [[*origin, alias.name] for alias in child.names] if whole else [origin]
            else:
                names = []
            for name in names:
                if name[0] == PACKAGE:
                    yield (name[1] if len(name) > 1 else "__init__"), eager, child.lineno
            yield from walk(child, eager and not inside)

    yield from walk(tree, True)


def violations(root: Path) -> list[str]:
    """Return every import under root that points the wrong way."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        unit = parts[0].removesuffix(".py")
        if unit not in RANK:
            found.append(f"{'/'.join(parts)}: unit {unit!r} has no rank in tests/house")
            continue
        for target, eager, line in imports(path, root):
            where = f"{'/'.join(parts)}:{line}: {unit} imports {target}"
            if target == unit or target not in RANK:
                continue  # itself, or a name the façade gives away (__version__)
            if RANK[target] >= RANK[unit]:
                found.append(f"{where}, which is not below it")
            elif unit == "model" and (target in COMPILER or (target == "ops" and eager)):
                found.append(f"{where}: a loaded model needs no compiler")
    return found


def test_imports_point_one_way(repo: Path) -> None:
    assert violations(repo / "python" / PACKAGE) == []


def test_a_wrong_arrow_is_caught(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "quant.py").write_text("from .graph import Graph\n")
    (tmp_path / "ops" / "add.py").write_text("def f():\n    from ..passes import fold\n")
    (tmp_path / "model.py").write_text("import edgekern.ops\nfrom edgekern import compiler\n")
    (tmp_path / "types.py").write_text("from edgekern.errors import EdgekernError\n")
    (tmp_path / "helper.py").write_text("")
    found = "\n".join(violations(tmp_path))
    assert found.count("\n") == 4, found
    for part in ("quant imports graph", "ops imports passes", "model imports ops", "'helper'"):
        assert part in found


def test_the_facade_is_a_table_of_contents(repo: Path) -> None:
    lines = (repo / "python" / PACKAGE / "__init__.py").read_text().splitlines()
    assert len(lines) <= 40

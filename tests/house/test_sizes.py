"""Rooms one can see across: limits on the length of files and functions, and names that say something."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
ISA_FILE_LINES = 300  # more (up to FILE_LINES) with `Longer than` and the reason in the header comment
FUNCTION_LINES = 80
FACADE_LINES = 40
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc", "impl", "v2"}


def source_files(root: Path) -> Iterator[Path]:
    """Files of code; a stub is a list of signatures and as long as what it lists."""
    for folder in ("cpp", "src", "python"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".cc", ".h", ".py"} and "__pycache__" not in path.parts:
                yield path


def plain_cpp(text: str) -> str:
    """Blank everything but code out of C++, keeping every line break."""
    comments = r"//[^\n]*|/\*.*?\*/"
    literals = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
    noise = r"^[ \t]*#(?:\\\n|[^\n])*|__attribute__\(\(\w+\)\)"
    pattern = f"(?m:{comments}|{literals}|{noise})"
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def cpp_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, first line, lines) of each function body: a `{` after `)` outside any other body."""
    text = plain_cpp(text)
    head = re.compile(r"([\w:~]+)\s*\([^;{}]*\)[\w\s:&*,<>()\-]*$")
    depth, body_depth, start, name = 0, None, 0, ""
    last = 0
    for match in re.finditer(r"[{};]", text):
        mark = match.group()
        if mark == "{":
            found = head.search(text[last : match.start()])
            if found and body_depth is None and not re.match(r"(if|for|while|switch)$", found[1]):
                body_depth, name = depth, found[1]
                start = text.count("\n", 0, last + found.start()) + 1
            depth += 1
        elif mark == "}":
            depth -= 1
            if body_depth == depth:
                yield name, start, text.count("\n", 0, match.start()) + 2 - start
                body_depth = None
        last = match.end()


def python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, first line, lines without the docstring) of each function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            doc = ast.get_docstring(node) is not None
            told = first.end_lineno - first.lineno + 1 if doc and first.end_lineno else 0
            yield node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1 - told


def too_long(root: Path) -> list[str]:
    """Return every file and function beyond its limit."""
    found = []
    for path in source_files(root):
        text, where = path.read_text(), path.relative_to(root)
        isa = re.match(r"(x86|arm)_", path.name) and "Longer than" not in text[:2000]
        limit = ISA_FILE_LINES if isa else FILE_LINES
        if (lines := text.count("\n")) > limit:
            found.append(f"{where}: {lines} lines, limit {limit}")
        functions = cpp_functions if path.suffix in {".cc", ".h"} else python_functions
        for name, line, count in functions(text):
            if count > FUNCTION_LINES:
                found.append(f"{where}:{line}: {name} has {count} lines, limit {FUNCTION_LINES}")
    return found


def test_files_and_functions_are_short(repo: Path) -> None:
    assert too_long(repo) == []


def test_long_files_and_functions_are_caught(tmp_path: Path) -> None:
    folder = tmp_path / "cpp" / "kernels" / "toy"
    folder.mkdir(parents=True)
    line = "  x += 1;  // {\n"
    (folder / "x86_avx2.cc").write_text("// SPDX\n" + "int a;\n" * 300)
    (folder / "scalar.cc").write_text(
        "namespace ek { namespace {\n"
        f"void fine(int x) {{\n{line * 70}}}\n}}\n"
        f"template <int M>\nvoid long_one(const int* x,\n    int y) noexcept {{\n{line * 80}}}\n}}\n"
    )
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "a.py").write_text("def f(x):\n" + "    x += 1\n" * 80)
    found = too_long(tmp_path)
    assert [entry.split(":")[0].rsplit("/")[-1] for entry in found] == [
        "scalar.cc",
        "x86_avx2.cc",
        "a.py",
    ], found
    assert "long_one has 83 lines" in found[0] or "long_one has 84 lines" in found[0], found


def empty_names(paths: list[Path]) -> list[str]:
    """Return the files and folders whose name has a word that says nothing."""
    return [str(p) for p in paths if SAYS_NOTHING & set(re.split(r"[^a-z0-9]+", p.stem.lower()))]


def test_names_say_something(repo: Path) -> None:
    folders = ("cpp", "src", "python", "tests", "bench", "examples", "docs")
    paths = [p.relative_to(repo) for f in folders for p in (repo / f).rglob("*")]
    assert empty_names(paths) == []


def test_no_two_test_files_share_a_name(repo: Path) -> None:
    """pytest imports each by its name alone, and stops before the first test where two have the same."""
    assert names_twice(repo / "tests") == []


def test_a_name_given_twice_is_caught(tmp_path: Path) -> None:
    for name in ("a/test_x.py", "b/test_x.py", "b/test_y.py", "a/conftest.py", "b/conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names_twice(tmp_path) == ["test_x.py"]


def names_twice(tests: Path) -> list[str]:
    """Names of test files that more than one folder has."""
    return [name for name, count in Counter(path.name for path in tests.rglob("test_*.py")).items() if count > 1]


def test_an_empty_name_is_caught() -> None:
    names = ["cpp/base/utils.h", "python/edgekern/io_helpers.py", "cpp/common", "cpp/base/span.h"]
    assert len(empty_names([Path(name) for name in names])) == 3


# ---- words that belong to one machine, not to the project ---------------------------------------

MACHINE = re.compile(
    r"(?<![\w.~/-])/(?:home|root|Users|mnt|work|tmp)/[\w.]"  # an absolute path of one machine
    r"|\.\./share[d]"  # a folder beside one clone
    r"|\bissues? #?\d"  # a tracker the reader does not have
)
TEXT = {".py", ".pyi", ".cc", ".h", ".c", ".def", ".md", ".toml", ".yml", ".yaml", ".cmake", ".txt"}


def machine_words(paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if match := MACHINE.search(line):
                found.append(f"{path}:{number}: {match.group()!r}")
    return found


def test_nothing_names_one_machine(repo: Path) -> None:
    folders = ("cpp", "src", "python", "tests", "bench", "examples", "docs", ".github")
    paths = [p for f in folders for p in (repo / f).rglob("*") if p.suffix in TEXT]
    paths += [p for p in repo.iterdir() if p.suffix in TEXT]
    assert machine_words([p for p in paths if p.is_file()]) == []


def test_a_machine_word_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    slash = "/"
    path.write_text(f"see {slash}home{slash}ann{slash}x\nsee usr{slash}tmp{slash}x\n(iss" + "ue 7)\n")
    assert len(machine_words([path])) == 2

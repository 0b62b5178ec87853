"""The style rules as a test: limits that hold from the first commit (design D11).

A limit introduced late is never reached, so there is no list of exceptions here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("orchestrator_raft", "api", "sandbox", "bench", "tests")
LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
COMPLEXITY_MAX = 10
POSITIONAL_PARAMETERS_MAX = 5
MAY_PRINT = ("orchestrator_raft/cli.py", "orchestrator_raft/raftctl/", "sandbox/", "bench/", "tests/")
MAY_CREATE_TASKS = ("orchestrator_raft/tasks.py",)
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[str]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts)


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def complexity(function: Function) -> int:
    """McCabe's number as ruff counts it: one plus every branch, handler and match case."""
    total = 1
    for node in ast.walk(function):
        if isinstance(node, BRANCHES):
            total += 1
        elif isinstance(node, ast.Match):
            total += len(node.cases)
    return total


def positional_parameters(function: Function) -> int:
    names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return len([name for name in names if name not in ("self", "cls")])


def starts_with(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path.startswith(prefix) for prefix in prefixes)


def complaints(path: str, text: str) -> Iterator[str]:
    tree = ast.parse(text)
    limit = TEST_LINES_MAX if path.startswith("tests/") else LINES_MAX
    lines = text.count("\n")
    if lines > limit:
        yield f"{path}: {lines} lines, at most {limit}"
    if text.strip() and ast.get_docstring(tree) is None:
        yield f"{path}: no docstring that says what the file is for"
    for function in functions(tree):
        where = f"{path}:{function.lineno} {function.name}"
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            yield f"{where}: {length} lines, at most {FUNCTION_LINES_MAX}"
        if complexity(function) > COMPLEXITY_MAX:
            yield f"{where}: complexity {complexity(function)}, at most {COMPLEXITY_MAX}"
        if positional_parameters(function) > POSITIONAL_PARAMETERS_MAX:
            yield f"{where}: more than {POSITIONAL_PARAMETERS_MAX} positional parameters"
    yield from bad_calls(path, tree)


def bad_calls(path: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{path}:{node.lineno}: bare except"
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "print" and not starts_with(path, MAY_PRINT):
            yield f"{path}:{node.lineno}: print outside command-line tools"
        if name in ("create_task", "ensure_future") and not starts_with(path, MAY_CREATE_TASKS):
            yield f"{path}:{node.lineno}: {name} outside tasks.py, which gives every task an owner"


@pytest.mark.parametrize("path", sources())
def test_a_source_file_keeps_the_limits(path: str) -> None:
    assert [] == list(complaints(path, (ROOT / path).read_text()))


def test_the_checker_itself_finds_what_it_forbids() -> None:
    body = "\n".join(f"    if a == {number}: pass" for number in range(70))
    text = f"def f(a, b, c, d, e, g):\n{body}\n    print(1)\n    try: pass\n    except: pass\n"
    found = " ".join(complaints("orchestrator_raft/x.py", text))
    for word in ("docstring", "lines", "complexity", "positional", "print", "bare except"):
        assert word in found


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    forbidden = re.compile(r"(pypi\.org|pythonhosted|deb\.debian\.org|registry\.npmjs|/work/|/root/)")
    tracked = [*sources(), "README.md", "CHANGELOG.md", "pyproject.toml"]
    documents = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    scripts = [path.relative_to(ROOT).as_posix() for path in (ROOT / "scripts").iterdir() if path.is_file()]
    found = [
        f"{path}: {match.group()}"
        for path in tracked + documents + scripts
        if (ROOT / path).exists() and path != "tests/test_tidy.py"
        for match in forbidden.finditer((ROOT / path).read_text())
    ]
    assert [] == found

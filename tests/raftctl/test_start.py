"""raftctl starts fast because of what it does not import; and what the product says of it is true."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from orchestrator_raft.raftctl.main import cli
from orchestrator_raft.raftctl.reference import BEGIN, page_with_commands
from tests.raftctl.conftest import run_process
from tests.raftctl.fleet import Node

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "raftctl.md"
HEAVY = {"rich", "aiohttp", "pydantic", "structlog", "pysyncobj", "msgpack", "orjson", "asyncio", "concurrent.futures"}
MODULES = """
import sys
from orchestrator_raft.raftctl import main
code = main.run(sys.argv[1:])
print("imported:", *sys.modules)
sys.exit(code)
"""


def test_up_to_the_answer_nothing_heavy_is_imported(node: Node) -> None:
    arguments = [sys.executable, "-c", MODULES, "--api", node.url, "clusters"]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    imported = run.stdout.partition("imported: ")[2].split()
    assert "http.client" in imported
    assert set() == HEAVY & set(imported)
    assert not [name for name in imported if name.startswith(("api", "orchestrator_raft.engine"))]


def test_the_module_can_be_run() -> None:
    assert "Usage: raftctl" in run_process("--help").stdout


def test_help_has_every_command_and_the_exit_codes() -> None:
    out = run_process("--help").stdout
    for name in cli.commands:
        assert f"\n  {name} " in out
    assert "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no node answers" in out


def test_the_reference_page_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert BEGIN in page
    assert page_with_commands(page) == page, "python -m orchestrator_raft.raftctl.reference docs/raftctl.md renews it"


def texts() -> Iterator[tuple[str, str]]:
    """Every message in the product that tells people to run raftctl; docstrings are not messages."""
    for folder in ("orchestrator_raft", "api"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text())
            prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                    yield path.relative_to(ROOT).as_posix(), node.value


ADVICE = re.compile(r"raftctl ((?:[a-z]+(?:-[a-z]+)*)(?: [a-z]+(?:-[a-z]+)*)*)")


def is_command(words: list[str]) -> bool:
    """Whether these words begin with a command, sub-command included where there are such."""
    command: click.Command | None = cli.commands.get(words[0])
    if isinstance(command, click.Group) and len(words) > 1 and words[1] in command.commands:
        return True
    return command is not None


def test_every_command_that_a_text_names_exists() -> None:
    named = {(path, match[1]) for path, text in texts() for match in ADVICE.finditer(text)}
    assert ("orchestrator_raft/core/replicated/claims.py", "recoveries enable") in named
    assert [] == [each for each in sorted(named) if not is_command(each[1].split())]


@pytest.mark.parametrize("line", re.findall(r"^\$? ?raftctl (.+)$", PAGE.read_text() if PAGE.exists() else "", re.M))
def test_every_example_of_the_page_is_a_command(line: str) -> None:
    words = [word for word in shlex.split(line.partition("#")[0]) if not word.startswith("-")]
    assert is_command([word for word in words if "://" not in word])

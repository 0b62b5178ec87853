"""The command orchestrator-raft: what people read, on which stream, and the exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from orchestrator_raft import __version__, cli
from orchestrator_raft.core.errors import StartupError
from tests.free_ports import free_port

PROGRAM = (sys.executable, "-c", "from orchestrator_raft.cli import main; main()")
PROCESS_TIMEOUT_S = 60


def ran(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own: that it ends within the timeout is a part of what is tested."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=PROCESS_TIMEOUT_S, cwd=cwd)


def test_the_version_is_told() -> None:
    run = ran("version")
    assert (0, f"orchestrator-raft {__version__}, Python {sys.version.split()[0]}\n") == (run.returncode, run.stdout)


def test_wrong_usage_is_one_line_and_code_2() -> None:
    run = ran("start")
    assert (2, "") == (run.returncode, run.stdout)
    assert run.stderr.startswith("error: No such command 'start'")
    assert run.stderr.endswith("(orchestrator-raft --help)\n")
    assert 1 == len(run.stderr.splitlines())


@pytest.mark.parametrize("group", [(), ("config",)])
def test_a_group_alone_shows_its_help(group: tuple[str, ...]) -> None:
    run = ran(*group)
    assert 0 == run.returncode
    assert "Commands:" in run.stdout


def test_every_problem_of_a_configuration_is_a_line_and_the_node_ends_at_once(write_config: Any) -> None:
    run = ran("serve", "--config", write_config(InstancePollSeconds="5", RaftEnabled=True, RaftBind=7))
    lines = run.stderr.splitlines()
    assert (1, "") == (run.returncode, run.stdout)
    assert len(lines) >= 2
    assert all(line.startswith("error: ") for line in lines)
    assert any("InstancePollSeconds" in line for line in lines)
    assert "Traceback" not in run.stderr


def test_without_a_configuration_the_places_looked_at_are_named(tmp_path: Path) -> None:
    run = ran("serve", cwd=tmp_path)
    assert 1 == run.returncode
    assert run.stderr.startswith("error: no configuration file: name one with --config; looked for /etc/")
    assert 1 == len(run.stderr.splitlines())


def test_a_file_that_is_no_json_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{\n  nonsense\n}")
    run = ran("serve", "--config", str(path))
    assert 1 == run.returncode
    assert run.stderr.startswith(f"error: {path}: line 2, column 3: not JSON")


def test_an_address_in_use_is_one_line_and_the_node_ends_at_once(write_config: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        path = write_config(
            ListenAddress=f"127.0.0.1:{port}", RaftDataDir=str(tmp_path / "raft"), RaftBind=f"127.0.0.1:{free_port()}"
        )
        run = ran("serve", "--config", path)
    assert 1 == run.returncode
    error = run.stderr.splitlines()[-1]
    assert error.startswith(f"error: cannot serve HTTP on 127.0.0.1:{port}: another process listens there")
    assert "Traceback" not in run.stderr


def test_a_node_that_is_told_to_end_ends_with_code_0(write_config: Any, tmp_path: Path) -> None:
    port = free_port()
    path = write_config(
        ListenAddress=f"127.0.0.1:{port}",
        RaftDataDir=str(tmp_path / "raft"),
        RaftBind=f"127.0.0.1:{free_port()}",
        Nonsense=1,
    )
    with subprocess.Popen([*PROGRAM, "serve", "--config", path], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if '"started"' in line:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert 0 == process.wait(PROCESS_TIMEOUT_S), "".join([*seen, rest])
    assert seen[0].startswith("warning: ")
    assert "Nonsense" in seen[0]
    assert all(json.loads(line)["event"] for line in seen[1:])


class App(types.ModuleType):
    """Stands in for the composition root, where a test needs a node that ends in its own way."""

    def __init__(self, end: int | Exception) -> None:
        super().__init__("orchestrator_raft.app")
        self._end = end

    def run(self, _loaded: object) -> int:
        if isinstance(self._end, Exception):
            raise self._end
        return self._end


@pytest.fixture
def serve(write_config: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run_it(end: int | Exception, *options: str) -> tuple[int, str]:
        monkeypatch.setitem(sys.modules, "orchestrator_raft.app", App(end))
        monkeypatch.setattr("orchestrator_raft.telemetry.logs.setup_logging", lambda debug: None)
        code = cli.run(["serve", "--config", write_config(), *options])
        return code, capsys.readouterr().err

    return run_it


def test_the_exit_code_of_the_node_is_that_of_the_process(serve: Any) -> None:
    assert (3, "") == serve(3)


def test_why_a_node_cannot_start_is_told_line_by_line(serve: Any) -> None:
    assert (1, "error: the data directory is full\nerror: free some space\n") == serve(
        StartupError("the data directory is full\nfree some space")
    )


def test_a_defect_is_one_line_with_the_way_to_its_traceback(serve: Any) -> None:
    code, err = serve(ValueError("two\nlines"))
    text = "error: a defect of orchestrator-raft: ValueError: two lines (run it again with --debug to see where)\n"
    assert (1, text) == (code, err)


def test_with_debug_a_defect_has_its_traceback(serve: Any) -> None:
    code, err = serve(ValueError("here"), "--debug")
    assert 1 == code
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("error: a defect of orchestrator-raft: ValueError: here (its traceback is above)\n")


def test_config_check_tells_everything_and_the_verdict(write_config: Any) -> None:
    path = write_config(Nonsense=1)
    usual, strict = ran("config", "check", path), ran("config", "check", "--strict", path)
    assert (0, 1) == (usual.returncode, strict.returncode)
    assert "warning: " in usual.stdout
    assert "can be used: 0 errors, 1 warnings" in usual.stdout
    assert "cannot be used: 1 errors" in strict.stdout


def test_config_check_without_a_file_looks_where_serve_looks(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.conf.json").write_text("{}")
    run = ran("config", "check", cwd=tmp_path)
    if not Path("/etc/orchestrator.conf.json").exists():
        assert run.stdout.startswith("read orchestrator.conf.json\n")
    assert 0 == run.returncode


def test_config_schema_is_json() -> None:
    assert "properties" in json.loads(ran("config", "schema").stdout)


def test_config_explain_knows_keys_in_any_letter_case() -> None:
    run = ran("config", "explain", "raftenabled")
    assert (0, "RaftEnabled") == (run.returncode, run.stdout.splitlines()[0])


def test_config_explain_of_an_unknown_key_names_the_nearest() -> None:
    run = ran("config", "explain", "RaftEnable")
    assert (1, "") == (run.returncode, run.stdout)
    assert run.stderr.startswith("error: ")
    assert "RaftEnabled" in run.stderr


def test_the_command_starts_without_what_only_a_node_needs() -> None:
    program = "import sys; from orchestrator_raft import cli; cli.run(['version']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ})
    assert not {"pydantic", "aiohttp", "pysyncobj", "rich", "structlog"} & set(run.stdout.split())

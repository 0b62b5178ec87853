"""The log: one stream for everybody, JSON or readable, never blocking, never leaking."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import select
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_raft.tasks import Tasks
from orchestrator_raft.telemetry.logs import LINE_BYTES_MAX, on_failure, setup_logging

ReadLines = Callable[[], list[dict[str, Any]]]


def available(descriptor: int) -> bytes:
    """Everything that can be read now."""
    data = b""
    while select.select([descriptor], [], [], 0.2 if not data else 0)[0]:
        piece = os.read(descriptor, 65536)
        if not piece:
            break
        data += piece
    return data


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """What setup_logging changes in this process, put back."""
    root = logging.getLogger()
    handlers, level, show = root.handlers, root.level, warnings.showwarning
    yield
    logging.captureWarnings(False)
    root.handlers, warnings.showwarning = handlers, show
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def read_lines(kept_logging: None) -> Iterator[ReadLines]:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        setup_logging(False, stream)
        yield lambda: [json.loads(line) for line in available(reader).splitlines()]
    os.close(reader)


def test_an_event_is_one_json_line_with_time_level_logger_and_fields(read_lines: ReadLines) -> None:
    structlog.get_logger("engine").info("recovery began", cluster="shop", term=3)
    (line,) = read_lines()
    assert line.pop("timestamp").endswith("Z")
    assert {"event": "recovery began", "level": "info", "logger": "engine", "cluster": "shop", "term": 3} == line


def test_other_libraries_write_to_the_same_stream(read_lines: ReadLines) -> None:
    logging.getLogger("pysyncobj.transport").warning("peer %s is %s", "n2", "gone")
    (line,) = read_lines()
    assert ("peer n2 is gone", "warning", "pysyncobj.transport") == (line["event"], line["level"], line["logger"])


def test_warnings_of_python_are_logged(read_lines: ReadLines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("an old habit", DeprecationWarning, stacklevel=1)
    assert any("an old habit" in line["event"] for line in read_lines())


@pytest.mark.parametrize(("debug", "expected"), [(False, ["two"]), (True, ["one", "two"])])
def test_debug_lines_need_the_key_debug(kept_logging: None, debug: bool, expected: list[str]) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        setup_logging(debug, stream)
        structlog.get_logger("x").debug("one")
        logging.getLogger("y").info("two")
        assert expected == [json.loads(line)["event"] for line in available(reader).splitlines()]
    os.close(reader)


def test_context_bound_elsewhere_is_in_the_line(read_lines: ReadLines) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("api").info("asked")
    assert "r-1" == read_lines()[0]["request_id"]


async def test_a_failed_task_is_logged_with_its_traceback(read_lines: ReadLines) -> None:
    async def work() -> None:
        raise ValueError("the cause")

    tasks = Tasks("watch", on_failure)
    await asyncio.wait([tasks.start("tick", work())])
    await asyncio.sleep(0)
    (line,) = read_lines()
    assert ("watch:tick", "ValueError: the cause") == (line["task"], line["error"])
    assert line["exception"].endswith('raise ValueError("the cause")\nValueError: the cause')


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"password": "hunter2"}, ""),
        ({"MySQLTopologyPassword": "hunter2"}, ""),
        ({"Authorization": "Basic hunter2"}, ""),
        ({}, "http://me:hunter2@consul:8500/"),
        ({}, "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='hunter2', SOURCE_USER='r'"),
        ({}, "CREATE USER x IDENTIFIED BY 'hunter2'"),
        ({}, '{"user": "me", "password": "hunter2"}'),
        ({}, "Authorization: Bearer hunter2hunter2"),
        ({"detail": ["token=hunter2"]}, ""),
        ({"exc_info": ValueError("password: hunter2")}, ""),
    ],
)
def test_secrets_are_covered(read_lines: ReadLines, fields: dict[str, Any], text: str) -> None:
    structlog.get_logger("x").info(f"said {text}", **fields)
    (line,) = read_lines()
    assert "hunter2" not in json.dumps(line)
    assert "***" in json.dumps(line)


def test_a_line_cannot_be_forged(read_lines: ReadLines) -> None:
    structlog.get_logger("x").info("alias\n{}\x1b[31m", alias="a\r\nb\x00")
    (line,) = read_lines()
    assert ("alias\\n{}\\u001b[31m", "a\\r\\nb\\u0000") == (line["event"], line["alias"])


texts = st.text(st.characters(exclude_categories=[]), max_size=3000)


@settings(max_examples=60, deadline=None)
@given(event=texts, fields=st.dictionaries(st.text(min_size=1, max_size=20), texts | st.floats(), max_size=40))
def test_any_event_is_one_short_valid_line(event: str, fields: dict[str, Any]) -> None:
    reader, writer = os.pipe()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        with os.fdopen(writer, "w") as stream:
            setup_logging(False, stream)
            logging.getLogger("x").info("%s", event, extra={})
            structlog.get_logger("x").info(event.replace("%", ""), **{f"f{name}": fields[name] for name in fields})
            lines = available(reader).splitlines(keepends=True)
    finally:
        logging.captureWarnings(False)
        root.handlers = handlers
        root.setLevel(level)
        structlog.reset_defaults()
        os.close(reader)
    assert 2 == len(lines)
    assert all(len(line) <= LINE_BYTES_MAX and isinstance(json.loads(line), dict) for line in lines)


def test_a_reader_that_stands_still_stops_nobody_and_hears_how_much_it_missed(kept_logging: None) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        setup_logging(False, stream)
        log = structlog.get_logger("x")
        for number in range(3000):
            log.info("many", number=number, padding="p" * 400)
        first = [json.loads(line) for line in available(reader).splitlines()]
        log.info("after")
        notice, after = [json.loads(line) for line in available(reader).splitlines()]
    os.close(reader)
    assert list(range(len(first))) == [line["number"] for line in first]
    assert 0 < len(first) < 3000
    assert f"{3000 - len(first)} lines of this log were dropped: nobody read them in time" == notice["event"]
    assert "after" == after["event"]


def test_a_reader_that_has_gone_stops_nobody(kept_logging: None) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        setup_logging(False, stream)
        os.close(reader)
        structlog.get_logger("x").info("said to nobody")


PROGRAM = """
import logging, structlog
from orchestrator_raft.telemetry.logs import setup_logging, on_failure
setup_logging(False)
structlog.get_logger("engine").warning("no quorum", nodes=1, password="hunter2")
try:
    raise ValueError("the cause")
except ValueError as error:
    on_failure("watch:tick", error)
"""


def test_on_a_terminal_lines_are_readable() -> None:
    master, terminal = pty.openpty()
    run = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=terminal, stdin=subprocess.DEVNULL)
    try:
        assert 0 == run.wait(60)
        lines = available(master).decode().splitlines()
    finally:
        os.close(terminal)
        os.close(master)
    assert lines[0].endswith(" WARNING engine: no quorum  nodes=1  password=***")
    assert " ERROR   tasks: a task failed" in lines[1]
    assert "ValueError: the cause" == lines[-1]


def test_without_a_terminal_stderr_has_json_lines() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert ["warning", "error"] == [json.loads(line)["level"] for line in run.stderr.splitlines()]
    assert "" == run.stdout


def test_a_bad_log_call_is_named_and_harms_nobody() -> None:
    program = (
        "import logging; from orchestrator_raft.telemetry.logs import setup_logging; setup_logging(False);"
        "logging.getLogger('lib').info('%d lines', 'many'); print('went on')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "went on\n" == run.stdout
    assert json.loads(run.stderr)["event"] == "a bad log call: lib, line 1"

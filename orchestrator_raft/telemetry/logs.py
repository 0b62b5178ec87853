"""The node's log: structlog and the standard library's loggers (PySyncObj, aiohttp, asyncio) in one stream, stderr.

Rules
- One line an event: JSON where stderr is no terminal, readable where it is.
- A log never holds the node up. A line is short enough that a pipe or socket that is ready takes it whole; when stderr
  is not ready the line is dropped, and the next one that gets through says how many were.
- A log cannot be forged: signs that are not printable are written as escapes.
- No secrets: a field named like one is covered, and so are credentials inside URLs and statements.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import select
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

LINE_BYTES_MAX = 4096
"""What POSIX lets a pipe take in one piece without waiting (PIPE_BUF on Linux)."""
FIELD_MAX = 500
TRACEBACK_MAX = 2400
FIELDS_MAX = 24
READABLE_MAX = 1500
"""Signs of a readable line; a traceback follows it."""
COVER = "***"

Event = MutableMapping[str, Any]

_SECRET_NAME = re.compile(r"passw|secret|token|authorization|cookie|private_?key", re.IGNORECASE)
_SECRET_TEXTS = (
    (re.compile(r"//[^/\s\"'@]*@"), f"//{COVER}@"),
    (re.compile(r"(?i)((?:password|secret|token)\w*[\"']?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;)]+)"), rf"\g<1>{COVER}"),
    (re.compile(r"(?i)(identified\s+by\s+)('[^']*'|\"[^\"]*\")"), rf"\g<1>{COVER}"),
    (re.compile(r"(?i)\b((?:basic|bearer)\s+)[\w+/=.-]{6,}"), rf"\g<1>{COVER}"),
)
_REQUIRED = ("event", "level", "timestamp", "logger")


def setup_logging(debug: bool, stream: TextIO | None = None) -> None:
    """Send every log of the process to ``stream`` (stderr), from level debug or info on. Call it once, at the start."""
    target = sys.stderr if stream is None else stream
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render = _readable if target.isatty() else _as_json
    handler = _Handler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _with_traceback, _bounded, render],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)


def on_failure(name: str, exception: BaseException) -> None:
    """For ``tasks.Tasks``: a background task has ended with an exception. Nobody waits for it: the log tells it all."""
    structlog.get_logger("tasks").error(
        "a task failed: this is a defect unless the node is stopping", task=name, exc_info=exception
    )


class _Handler(logging.Handler):
    """Writes whole lines, or drops them when nobody reads."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._descriptor = stream.fileno()
        self._dropped = 0
        self._ready = select.poll()
        self._ready.register(self._descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        if self._dropped and self._write(self._formatted(_dropped_notice(self._dropped))):
            self._dropped = 0
        if not self._write(self._formatted(record)):
            self._dropped += 1

    def _formatted(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:  # noqa: BLE001 - a bad log call must not end the work that made it: it is named in its place
            return json.dumps({"level": "error", "event": f"a bad log call: {record.name}, line {record.lineno}"})

    def _write(self, line: str) -> bool:
        data = line.encode("utf-8", "backslashreplace")[: LINE_BYTES_MAX - 1] + b"\n"
        try:
            if not any(flags & select.POLLOUT for _, flags in self._ready.poll(0)):
                return False
            os.write(self._descriptor, data)
        except OSError:
            return False  # the reader is gone: a node does not stop for its log
        return True


def _dropped_notice(count: int) -> logging.LogRecord:
    text = f"{count} lines of this log were dropped: nobody read them in time"
    return logging.LogRecord("log", logging.WARNING, "", 0, text, (), None)


def _with_traceback(logger: Any, method: str, event: Event) -> Event:
    """``exc_info`` as text, its end kept: that is where the exception is."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()[1]
    elif isinstance(info, tuple):
        info = info[1]
    if isinstance(info, BaseException):
        event["exception"] = "".join(traceback.format_exception(info)).strip()
        event.setdefault("error", f"{type(info).__name__}: {info}")
    return event


def _bounded(logger: Any, method: str, event: Event) -> Event:
    """Values short, printable and without secrets; not more fields than a line can hold."""
    shown = {name: event[name] for name in _REQUIRED if name in event}
    shown |= {str(name): value for name, value in list(event.items())[:FIELDS_MAX] if name not in shown}
    return {name: _value(name, value) for name, value in shown.items()}


def _value(name: str, value: Any) -> Any:
    if name == "exception":
        return _shown(str(value), TRACEBACK_MAX, end=True, lines=True)
    if _SECRET_NAME.search(name):
        return COVER
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _shown(value if isinstance(value, str) else str(value), FIELD_MAX)


def _shown(text: str, length_max: int, *, end: bool = False, lines: bool = False) -> str:
    cut = text[-4 * length_max :] if end else text[: 4 * length_max]
    for pattern, replacement in _SECRET_TEXTS:
        cut = pattern.sub(replacement, cut)
    shown = "".join(sign if sign.isprintable() or (lines and sign == "\n") else _escape(sign) for sign in cut)
    if len(shown) <= length_max and len(cut) == len(text):
        return shown
    return f"...{shown[-length_max:]}" if end else f"{shown[:length_max]}..."


def _escape(sign: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(sign, f"\\u{ord(sign):04x}")


def _as_json(logger: Any, method: str, event: Event) -> str:
    line = _json(event)
    if len(line.encode("utf-8", "backslashreplace")) < LINE_BYTES_MAX:
        return line
    short = {name: event[name] for name in (*_REQUIRED, "task", "error") if name in event}
    return _json({**short, "shortened": True})


def _json(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


def _readable(logger: Any, method: str, event: Event) -> str:
    """``time LEVEL logger: event  name=value ...`` and, below it, the traceback."""
    rest = dict(event)
    moment = str(rest.pop("timestamp", ""))[11:23]
    level = str(rest.pop("level", "")).upper()
    name = rest.pop("logger", "")
    text = rest.pop("event", "")
    below = rest.pop("exception", "")
    fields = "".join(f"  {key}={value}" for key, value in rest.items())
    line = f"{moment} {level:7} {name}: {text}{fields}"[:READABLE_MAX]
    return f"{line}\n{below}" if below else line

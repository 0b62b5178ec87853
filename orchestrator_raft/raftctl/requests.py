"""From an operation and its arguments to an HTTP request: pure.

The native API is spoken where the operation has a path there, the compatible one elsewhere. Arguments are texts by the
operation's parameter names; those that the path does not carry go into the query of a GET, else into a JSON body.
Compatible paths ignore names that they do not know, as orchestrator does, so ``dry_run`` never goes over one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.operations import Operation

NATIVE_ONLY = "dry_run"
_NAME = re.compile(r"\{(\w+)\}")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_ADDRESSES = {("host", "port"): "server", ("targetHost", "targetPort"): "target"}


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; ``path`` is below ``/api/``."""

    method: str
    path: str
    body: bytes = b""
    writes: bool = False
    takes_long: bool = False


def request(operation: Operation, arguments: Mapping[str, str]) -> Request:
    """The request of one operation, native if its path can be filled. Raises InvalidInput for what no path carries."""
    method, _, path = operation.native.partition(" ")
    if operation.native and set(_NAME.findall(path)) <= set(arguments):
        return _native(operation, method, path, arguments)
    if NATIVE_ONLY in arguments:
        raise InvalidInput(f"{operation.name} cannot be planned: on its path a node could ignore {NATIVE_ONLY} and act")
    template = _template(operation, arguments)
    parts = _parts(arguments)
    path = _NAME.sub(lambda match: _segment(parts[match[1]]), template)
    rest = {name: value for name, value in arguments.items() if not _carries(template, name)}
    return _made(operation, "GET", _with_query(path, rest))


def _native(operation: Operation, method: str, template: str, arguments: Mapping[str, str]) -> Request:
    path = "v2" + _NAME.sub(lambda match: _segment(arguments[match[1]]), template)
    in_path = set(_NAME.findall(template))
    rest = {_snake(name): value for name, value in arguments.items() if name not in in_path}
    if method == "GET":
        return _made(operation, method, _with_query(path, rest))
    return _made(operation, method, path, json.dumps(rest).encode() if rest else b"")


def _made(operation: Operation, method: str, path: str, body: bytes = b"") -> Request:
    return Request(method, path, body, writes=operation.writes, takes_long=operation.takes_long)


def _template(operation: Operation, arguments: Mapping[str, str]) -> str:
    """The compatible path that carries the most of what is given, and needs nothing else."""
    known = set(_parts(arguments))
    fitting = [path for path in operation.compatible if set(_NAME.findall(path)) <= known]
    return max(fitting, key=lambda path: len(_NAME.findall(path)))


def _parts(arguments: Mapping[str, str]) -> dict[str, str]:
    """The names that stand in compatible paths: an address in two parts, a cluster as a hint."""
    parts = dict(arguments)
    for (host_name, port_name), name in _ADDRESSES.items():
        if name in arguments:
            host, _, port = arguments[name].rpartition(":")
            parts |= {host_name: host.removeprefix("[").removesuffix("]"), port_name: port}
    if "cluster" in arguments:
        parts["hint"] = arguments["cluster"]
    return parts


def _carries(template: str, name: str) -> bool:
    words = {"server": "host", "target": "targetHost", "cluster": "hint"}
    names = _NAME.findall(template)
    return name in names or words.get(name, name) in names


def _with_query(path: str, rest: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(rest)}" if rest else path


def _segment(text: str) -> str:
    if not text or set(text) & set("/#?"):
        raise InvalidInput(f"'{text}' is no name of anything: it must not be empty and must not have / # or ?")
    return quote(text, safe=":")


def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()

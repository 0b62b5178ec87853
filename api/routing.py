"""Routes, generated from the operations: which operation a path means, in which dialect, with which parameters.

As with the peers a path is percent-decoded before it is matched, so an encoded slash inside a segment does not match;
a parameter is one segment without ``/ # ?``; one trailing slash is tolerated. All routes are in one table by number of
segments and first word, so that matching costs the same however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator_raft.operations import LEFT_OUT, OPERATIONS, Operation

from . import health
from .settings import DEFAULT_STATUS_PATH, ApiSettings

PARAMETER = re.compile(r"[^/#?]+")
ADDRESS_PAIRS = {("host", "port"): "server", ("targetHost", "targetPort"): "target"}
NAMES = {"hint": "cluster"}
STATUS_TEMPLATE = "status"
OPTIONS_OF = {name: ("OPTIONS",) for name in health.CHECKS}
"""What load balancers ask by default."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path of one operation."""

    operation: Operation
    is_native: bool
    methods: tuple[str, ...]
    segments: tuple[str, ...]
    """Literal words, and ``{name}`` for parameters."""

    def bind(self, given: Sequence[str]) -> dict[str, str] | None:
        """Raw parameters by the operation's own names, or None when the path does not match."""
        found: dict[str, str] = {}
        for want, text in zip(self.segments, given, strict=True):
            if not want.startswith("{"):
                if want != text:
                    return None
            elif PARAMETER.fullmatch(text):
                found[want[1:-1]] = text
            else:
                return None
        return _renamed(found, self.operation)


def _renamed(found: Mapping[str, str], operation: Operation) -> dict[str, str]:
    """``{host}/{port}`` is the server, or the cluster's hint where the operation is about a cluster."""
    known = {parameter.name for parameter in operation.parameters}
    raw = dict(found)
    for (host, port), name in ADDRESS_PAIRS.items():
        if host in raw and port in raw:
            address = f"{_bracketed(raw.pop(host))}:{raw.pop(port)}"
            raw[name if name in known else "cluster"] = address
    return {NAMES.get(name, name): text for name, text in raw.items()}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


@dataclass(frozen=True, slots=True)
class Match:
    """A route that fits a path, and its raw parameters."""

    route: Route
    parameters: Mapping[str, str]


class Router:
    """Finds routes by path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_shape: dict[tuple[int, str], list[Route]] = {}
        for route in self.routes:
            self._by_shape.setdefault((len(route.segments), route.segments[0]), []).append(route)

    def match(self, path: str) -> list[Match]:
        """All routes with this path; more than one only where methods differ."""
        given = path.removeprefix("/").split("/")
        if len(given) > 1 and given[-1] == "":
            given.pop()
        found = []
        for route in self._by_shape.get((len(given), given[0]), ()):
            parameters = route.bind(given)
            if parameters is not None:
                found.append(Match(route, parameters))
        return found


def routes(settings: ApiSettings) -> Iterator[Route]:
    """Every route of this node."""
    prefix = _segments(settings.url_prefix)
    for operation in (*OPERATIONS, *LEFT_OUT):
        methods = ("GET",) if operation.writes else ("GET", "HEAD")
        for template in operation.compatible:
            segments = (*prefix, "api", *_segments(template))
            if template == STATUS_TEMPLATE and settings.status_path != DEFAULT_STATUS_PATH:
                segments = _segments(settings.status_path) or ("",)
            yield Route(operation, False, methods, segments)
        for template in operation.root:
            yield Route(
                operation, False, (*methods, *OPTIONS_OF.get(operation.name, ())), (*prefix, *_segments(template))
            )
        if operation.native:
            method, _, path = operation.native.partition(" ")
            methods = ("GET", "HEAD") if method == "GET" else (method,)
            yield Route(operation, True, methods, (*prefix, "api", "v2", *_segments(path)))


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/")) if path.strip("/") else ()


def native_root(settings: ApiSettings) -> str:
    """Below this path unknown routes are answered in the native dialect."""
    return "/" + "/".join((*_segments(settings.url_prefix), "api", "v2", ""))

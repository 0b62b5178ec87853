"""Talks HTTP to the nodes: finds one that answers, the leader where there is a choice.

Rules
- Every wait has a limit: a few seconds to connect, and a deadline for the whole answer.
- A read is tried on the next node when one fails. A write is tried again only if it was certainly not sent; if its
  answer is lost, the error says so and names the request's id, which the audit trail has.
- What a node refuses comes back as an error of ``core.errors``, its text being the node's own.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from orchestrator_raft.core.errors import InvalidInput, OrchestratorError, Refused, ServerError, Unavailable
from orchestrator_raft.raftctl.requests import Request

if TYPE_CHECKING:
    import ssl

DEFAULT_API = "http://127.0.0.1:3000/api"
CONNECT_TIMEOUT_S = 3.0
LEADER_CHECK_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 45.0
LONG_TIMEOUT_S = 930.0
"""A little more than the nodes themselves wait, so that their own words arrive."""
BODY_BYTES_MAX = 64 * 1024 * 1024
_ERRORS: dict[int, type[OrchestratorError]] = {400: InvalidInput, 502: ServerError, 503: Unavailable}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One node's API. ``path`` is that of the API, as ``/api``."""

    scheme: str
    host: str
    port: int
    path: str
    credentials: str = field(default="", repr=False)
    """``user:password``; empty for none."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """URLs separated by commas or blanks; ``/api`` is added where it is missing. Raises InvalidInput."""
    found = tuple(parse_endpoint(each) for each in text.replace(",", " ").split())
    if not found:
        raise InvalidInput("no URL of a node is given: write --api http://HOST:PORT")
    return found


def parse_endpoint(text: str) -> Endpoint:
    """One URL. Raises InvalidInput."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"a URL of the API is wrong: {error}: write http://HOST:PORT") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidInput("a URL of the API is wrong: write http://HOST:PORT or https://HOST:PORT")
    path = parts.path.rstrip("/")
    if not path.endswith("/api"):
        path = f"{path}/api"
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return Endpoint(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path, credentials)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered."""

    value: Any
    body: bytes
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Tls:
    """How nodes are verified, and how they verify us: PEM files; empty for the system's authorities and no own one."""

    authority: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """Raises InvalidInput for files that do not do."""
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.authority or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None, password=_no_password)
        except (OSError, ValueError) as error:
            names = ", ".join(name for name in (self.authority, self.certificate, self.key) if name)
            raise InvalidInput(f"--ca, --cert, --key ({names}) cannot be used: {_reason(error)}") from error
        return context


def _no_password() -> str:
    raise ValueError("the key is protected by a password: store it without one")


class NotSent(Unavailable):
    """The node could not be reached at all: nothing was sent to it."""


class Lost(Unavailable):
    """The request was sent and no whole answer came back."""


class Client:
    """Sends requests to a cluster. ``timeout_s`` None takes the limit that fits the request."""

    def __init__(
        self, endpoints: Sequence[Endpoint], *, request_id: str, timeout_s: float | None = None, tls: Tls = Tls(),
        token: str = "",
    ) -> None:  # fmt: skip
        self.endpoints = tuple(endpoints)
        self._tls = tls
        self._token = token
        self.request_id = request_id
        self.timeout_s = timeout_s
        self._ordered: tuple[Endpoint, ...] | None = None

    def __repr__(self) -> str:
        return f"<Client of {', '.join(str(each) for each in self.endpoints)}>"

    def to(self, endpoints: Sequence[Endpoint]) -> Client:
        """The same client for other nodes."""
        return Client(endpoints, request_id=self.request_id, timeout_s=self.timeout_s, tls=self._tls, token=self._token)

    def call(self, request: Request) -> Answer:
        """The answer of a node that answers. Raises Unavailable when none does, else what the node refuses."""
        failures: list[str] = []
        for endpoint in self._in_order():
            try:
                return self.ask(endpoint, request)
            except NotSent as error:
                failures.append(str(error))
            except Lost as error:
                if request.writes:
                    raise
                failures.append(str(error))
        raise Unavailable(f"{'; '.join(failures)}: name nodes that run with --api or RAFTCTL_API")

    def ask(self, endpoint: Endpoint, request: Request, timeout_s: float | None = None) -> Answer:
        """The answer of this very node. Raises NotSent, Lost, or what the node refuses."""
        limit_s = timeout_s or self.timeout_s or _limit_s(request)
        status, body = self._exchange(endpoint, request, limit_s)
        value = _decoded(endpoint, status, body)
        if status >= 400 or (isinstance(value, dict) and value.get("Code") == "ERROR"):
            raise _refusal(endpoint, status, value)
        return Answer(value, body, endpoint)

    def _exchange(self, endpoint: Endpoint, request: Request, limit_s: float) -> tuple[int, bytes]:
        ends_s = time.monotonic() + limit_s
        connection = self._connection(endpoint, min(CONNECT_TIMEOUT_S, limit_s))
        try:
            try:
                connection.connect()
            except OSError as error:
                raise NotSent(f"cannot reach {endpoint}: {_reason(error)}") from error
            try:
                return _talk(connection, endpoint, request, self._headers(endpoint, request), ends_s)
            except (OSError, http.client.HTTPException) as error:
                raise self._lost(endpoint, request, error) from error
        finally:
            connection.close()

    def _lost(self, endpoint: Endpoint, request: Request, error: Exception) -> Lost:
        text = f"no answer from {endpoint}: {_reason(error)}"
        if request.writes:
            text += f"; it may have been carried out: look for request {self.request_id} before you repeat it"
        return Lost(text)

    def _connection(self, endpoint: Endpoint, timeout_s: float) -> http.client.HTTPConnection:
        if endpoint.scheme == "https":
            context = self._tls.context()
            return http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=timeout_s, context=context)
        return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout_s)

    def _headers(self, endpoint: Endpoint, request: Request) -> dict[str, str]:
        headers = {"Accept": "application/json", "X-Request-ID": self.request_id, "Connection": "close"}
        if request.takes_long:
            headers["Prefer"] = f"wait={LONG_TIMEOUT_S:.0f}"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if endpoint.credentials:
            headers["Authorization"] = "Basic " + b64encode(endpoint.credentials.encode()).decode()
        return headers

    def _in_order(self) -> tuple[Endpoint, ...]:
        """The endpoints, the leader's first; asked for once, and only where there is a choice."""
        if self._ordered is None:
            self._ordered = self.endpoints
            if len(self.endpoints) > 1:
                leads = dict(zip(self.endpoints, at_once(self._leads, self.endpoints), strict=True))
                self._ordered = tuple(sorted(self.endpoints, key=lambda endpoint: leads[endpoint], reverse=True))
        return self._ordered

    def _leads(self, endpoint: Endpoint) -> int:
        """2 for the leader, 1 for another node that answers, 0 for one that does not."""
        limit_s = min(LEADER_CHECK_TIMEOUT_S, self.timeout_s or LEADER_CHECK_TIMEOUT_S)
        try:
            self.ask(endpoint, Request("GET", "leader-check"), limit_s)
        except Unavailable:
            return 0
        except OrchestratorError:
            return 1
        return 2


def at_once(work: Any, items: Sequence[Any]) -> list[Any]:
    """``work`` of each item, all at the same time; each has its own limit of time."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(32, max(1, len(items)))) as pool:
        return list(pool.map(work, items))


def with_credentials(endpoints: Sequence[Endpoint], user: str, password: str) -> tuple[Endpoint, ...]:
    """The endpoints with these credentials where their URLs have none."""
    if not user:
        return tuple(endpoints)
    return tuple(each if each.credentials else replace(each, credentials=f"{user}:{password}") for each in endpoints)


def _talk(
    connection: http.client.HTTPConnection, endpoint: Endpoint, request: Request, headers: dict[str, str], ends_s: float
) -> tuple[int, bytes]:
    if request.body:
        headers = {**headers, "Content-Type": "application/json"}
    sock: socket.socket = connection.sock
    sock.settimeout(_left_s(ends_s))
    connection.request(request.method, f"{endpoint.path}/{request.path}", request.body or None, headers)
    response = connection.getresponse()
    body = b""
    while True:
        sock.settimeout(_left_s(ends_s))
        piece = response.read1(65536)
        if not piece:
            break
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise OSError(f"the answer is larger than {BODY_BYTES_MAX} bytes")
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return response.status, body


def _left_s(ends_s: float) -> float:
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


def _limit_s(request: Request) -> float:
    if request.takes_long:
        return LONG_TIMEOUT_S
    return WRITE_TIMEOUT_S if request.writes else READ_TIMEOUT_S


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    parts = [str(part) for name in ("reason", "verify_message") if (part := getattr(error, name, ""))]
    if parts:
        return f"TLS: {': '.join(parts).lower().replace('_', ' ')}; --ca names the authority of the nodes"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _decoded(endpoint: Endpoint, status: int, body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        if status == 401:
            raise Refused(_not_let_in(endpoint, body)) from error
        text = " ".join(body[:200].decode("utf-8", "replace").split())
        raise Refused(f"{endpoint} is no orchestrator-raft node: it answered {status}: {text}") from error


def _refusal(endpoint: Endpoint, status: int, value: Any) -> OrchestratorError:
    text = f"{endpoint} answered {status}"
    if isinstance(value, dict):
        text = str(value.get("detail") or value.get("Message") or text)
        if status == 500 and value.get("title"):
            text = f"{value['title']}: {text}"
    return _ERRORS.get(status, Refused)(text)


def _not_let_in(endpoint: Endpoint, body: bytes) -> str:
    if body in (b"No TLS", b"Invalid OU"):
        return f"{endpoint} wants a certificate that it believes ({body.decode()}): give --cert and --key"
    return f"{endpoint} lets nobody in without credentials: give --user and --password-file"

"""A request and an answer without a web server: what the front works with, and what travels from node to node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = "application/json; charset=UTF-8"
TEXT = "text/plain; charset=utf-8"
THREAD_FROM_BYTES = 1 << 20
"""Bodies of this size are packed and unpacked beside the event loop."""
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """What counts of a client certificate that TLS has verified."""

    name: str
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, decoded."""

    method: str
    path: str
    """Percent-decoded, from the first slash; a decoded slash counts as one."""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """All values of each header, names in lower case. Not forwarded."""
    body: bytes = b""
    request_id: str = ""
    repeatable: bool = False
    """The client chose the id itself, so the same id again means the same request."""
    remote: str = ""
    """IP address of whoever connected; empty for a unix socket. Not forwarded, like the next two."""
    over_tls: bool = False
    certificate: Certificate | None = None

    def header(self, name: str) -> str:
        """The first value of a header, or ''."""
        return self.headers.get(name, ("",))[0]

    @property
    def query_values(self) -> dict[str, str]:
        """The first value of each query parameter."""
        return dict(reversed(self.query))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. ``is_gzipped``: the body is compressed already (that is how it came from the leader)."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Headers = ()
    is_gzipped: bool = False

    def with_headers(self, more: Headers) -> Answer:
        return Answer(
            status=self.status,
            body=self.body,
            content_type=self.content_type,
            headers=(*self.headers, *more),
            is_gzipped=self.is_gzipped,
        )

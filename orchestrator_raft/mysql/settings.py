"""How database servers are reached: plain values, and the TLS contexts made of them once, at the start."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from enum import Enum

from orchestrator_raft.core.errors import StartupError


class TlsMode(Enum):
    """When a connection to a database server is encrypted."""

    NONE = "none"
    MIXED = "mixed"
    """Plain first; TLS with a server that demands it, from then on."""
    REQUIRED = "required"
    """A server that does not offer TLS is refused before it hears the user's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlSettings:
    """The manager's account and how its connections are made."""

    user: str
    password: str = field(default="", repr=False)
    tls: TlsMode = TlsMode.MIXED
    ca_file: str = ""
    """PEM; empty means the system's authorities."""
    cert_file: str = ""
    key_file: str = ""
    skip_verify: bool = False
    """Encrypt, but believe any certificate."""
    connects_max: int = 300
    """Connections of the prober that may be in the making at the same time."""
    reply_bytes_max: int = 64 * 1024 * 1024
    """A longer reply to one query is refused; it protects the node's memory."""


def tls_context(settings: MysqlSettings) -> ssl.SSLContext | None:
    """The context for TLS connections; None where TLS is never used. Raises StartupError for files that do not fit."""
    if settings.tls is TlsMode.NONE:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(name for name in (settings.ca_file, settings.cert_file, settings.key_file) if name)
        raise StartupError(f"the TLS files for database servers cannot be used ({files}): {error}") from error
    # Servers sign their own certificates at the first start, with flaws that this flag refuses.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

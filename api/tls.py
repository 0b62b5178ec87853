"""``ServerTls``: the certificate of HTTPS, which can be read again while the node serves.

A client's certificate is asked for where there is an authority that is believed. Whether one is needed, and which, is
decided for each request (``access``): a status route may do without. TLS 1.2 is the least.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from orchestrator_raft.core.errors import StartupError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. ``authority`` signs the clients' certificates; None asks for none."""

    certificate: Path
    key: Path
    authority: Path | None = None


class ServerTls:
    """The certificate in use. Raises StartupError where the files do not do."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._current = load(files)
        self.context = load(files)
        """For the listener. Each new connection is handed to what was read last."""
        self.context.sni_callback = self._hand_over

    def reload(self) -> None:
        """Read the files again. Raises StartupError, and then what was read before stays in use."""
        self._current = load(self._files)

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


def load(files: TlsFiles) -> ssl.SSLContext:
    """A context of these files. Raises StartupError that names the file, the cause and the way out."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    for key, path in (("SSLCertFile", files.certificate), ("SSLPrivateKeyFile", files.key)):
        _require_readable(key, path)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except _Protected:
        raise StartupError(
            f"SSLPrivateKeyFile {files.key} is protected by a password, and nobody could type it: store it without one,"
            " readable for this user only"
        ) from None
    except ssl.SSLError as error:
        raise StartupError(
            f"SSLCertFile {files.certificate}, SSLPrivateKeyFile {files.key}: {_reason(error)}: install the PEM files"
            " that were issued together"
        ) from error
    if files.authority is not None:
        _believe(context, files.authority)
    return context


def _believe(context: ssl.SSLContext, authority: Path) -> None:
    _require_readable("SSLCAFile", authority)
    try:
        context.load_verify_locations(authority)
    except ssl.SSLError as error:
        raise StartupError(f"SSLCAFile {authority} holds no certificate in PEM form: {_reason(error)}") from error
    context.verify_mode = ssl.CERT_OPTIONAL


class _Protected(Exception):
    """OpenSSL wants a password."""


def _no_password() -> str:
    raise _Protected


def _require_readable(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartupError(f"{key} {path} cannot be read: {reason}: make it readable for this user") from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")

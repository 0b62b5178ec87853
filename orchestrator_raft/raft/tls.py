"""Certificates of the nodes: three PEM files, checked when they are read, read again when they were renewed.

What is checked before they are used: each file can be read, the key is this certificate's and nobody else may read it,
nothing has expired, and a handshake of this node with itself succeeds both ways: so the chain, the purposes (server
*and* client) and the name of this node are right as the other nodes will judge them.

Which names count
- Whoever dials demands that the certificate names the host that was dialled (OpenSSL's own check).
- Whoever accepts demands that it names a host where it would look for the member that the peer says it is: the one in
  the list of members, or an entry of RaftNodes that is nobody's any more. So member A cannot speak as member B.
- A host is a DNS name or an IP address among the certificate's subject alternative names, as RaftNodes writes it. The
  common name counts nowhere. ``*`` stands for one first label. A node that moves to a host that the others do not have
  in RaftNodes yet has a certificate with both names.
- A member that was added while this node was away is not known here until the log says so; of it the signature and its
  own host are all that can be asked. Therefore the authority is to be the cluster's own: it says who may belong.

Renewal: put new files in place of the old ones; they are used from the next connection on, without a restart. Files
that cannot be used change nothing but the log. There are no revocation lists, and no session tickets, which would let a
peer back in without its certificate being looked at: who lost a key removes that member and makes a new authority.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.settings import CA_KEY, CERT_KEY, PRIVATE_KEY, TlsFiles

log = logging.getLogger("orchestrator_raft.raft")
WARN_DAYS = 14
DAY_S = 86_400
HANDSHAKE_ROUNDS = 10
PEM_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """Both sides verify the other's certificate. ``expires_s`` is wall-clock seconds, the earliest of the chain."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    expires_s: float


class NodeTls:
    """The certificates of the node that the others dial as ``host``. Raises StartupError if they cannot be used."""

    def __init__(self, files: TlsFiles, host: str, *, wall: Callable[[], float] = time.time) -> None:
        self._files = files
        self._host = host
        self._wall = wall
        self._seen = self._signature()
        self._contexts = load(files, host, wall())
        self._told_days: int | None = None

    def contexts(self) -> TlsContexts:
        """Those to use for the next connection: read again if a file has changed and they are right."""
        seen = self._signature()
        if seen == self._seen:
            return self._contexts
        self._seen = seen
        try:
            self._contexts = load(self._files, self._host, self._wall())
        except StartupError as error:
            until = _date(self._contexts.expires_s)
            log.error("changed TLS files are not used, those read before are, until %s: %s", until, error)
            return self._contexts
        log.warning("renewed TLS files are used from now on, valid until %s", _date(self._contexts.expires_s))
        return self._contexts

    def look(self) -> None:
        """Notice renewed files, and tell once a day when certificates are about to expire."""
        expires_s = self.contexts().expires_s
        days = int((expires_s - self._wall()) // DAY_S)
        if days < WARN_DAYS and days != self._told_days:
            names = " or ".join(str(path) for _, path in self._files.rows()[::2])
            state = f"expires in {days} days, on {_date(expires_s)}" if days >= 0 else f"expired on {_date(expires_s)}"
            log.error("a certificate in %s %s: no new connection between nodes after that; renew it", names, state)
        self._told_days = days

    def _signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for _, path in self._files.rows())


def load(files: TlsFiles, host: str, now_s: float) -> TlsContexts:
    """Contexts of checked files. Raises StartupError that names the setting, the file, the cause and the way out."""
    content = {setting: _read(setting, path) for setting, path in files.rows()}
    _check_rights(files.key)
    chain = _certificates(CERT_KEY, files.certificate, content[CERT_KEY])
    authorities = _certificates(CA_KEY, files.authority, content[CA_KEY])
    _check_key(files, content[PRIVATE_KEY], chain[0])
    for setting, path, found in (CERT_KEY, files.certificate, chain), (CA_KEY, files.authority, authorities):
        _check_validity(setting, path, found, now_s)
    ends = min(certificate.not_valid_after_utc for certificate in (*chain, *authorities))
    contexts = TlsContexts(
        server=_context(ssl.PROTOCOL_TLS_SERVER, files), client=_context(ssl.PROTOCOL_TLS_CLIENT, files),
        expires_s=ends.timestamp(),
    )  # fmt: skip
    try:
        _shake_hands(contexts, host)
    except ssl.SSLError as error:
        raise StartupError(
            f"{CERT_KEY} {files.certificate}: another node would refuse it: {explain(error)}; this node stands in "
            f"RaftNodes as {host}, the authority is {CA_KEY} {files.authority}: 'orchestrator-raft pki issue' makes one"
        ) from error
    return contexts


def names_in(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts that a verified peer's certificate (``SSLObject.getpeercert``) names."""
    return tuple(str(name) for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))


def check_peer(certificate: Mapping[str, Any] | None, hosts: Sequence[str]) -> None:
    """Raises ProtocolError unless the certificate names one of ``hosts``."""
    names = names_in(certificate or {})
    if not any(_names(name, host) for name in names for host in hosts):
        listed = ", ".join(names) or "nobody"
        raise ProtocolError(f"its certificate names {listed}, but not {' or '.join(hosts)}: issue one for that host")


def explain(error: ssl.SSLError) -> str:
    """What went wrong in a handshake, in words, without the file and line of OpenSSL."""
    reason = getattr(error, "verify_message", "") or (error.reason or str(error)).lower().replace("_", " ")
    return f"TLS: {reason.partition(' (_ssl')[0].rstrip('.')}"


def _names(name: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    label, _, rest = host.partition(".")
    return name == host or (bool(label) and "." in rest and name == f"*.{rest}")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise StartupError(
            f"{setting} {path} cannot be read: {error.strerror or error}; make it readable for this user, or make "
            "certificates with 'orchestrator-raft pki'"
        ) from error
    if len(content) > PEM_BYTES_MAX:
        raise StartupError(f"{setting} {path} is no PEM file of certificates: it is larger than {PEM_BYTES_MAX} bytes")
    return content


def _check_rights(path: Path) -> None:
    """Like every other server: 0600, or 0640 where it belongs to root and a group was given the right on purpose."""
    found = path.stat()
    forbidden = 0o027 if found.st_uid == 0 else 0o077
    if found.st_uid not in (os.geteuid(), 0):
        raise StartupError(f"{PRIVATE_KEY} {path} belongs to another user: give it to the user that runs this node")
    if stat.S_IMODE(found.st_mode) & forbidden:
        raise StartupError(
            f"{PRIVATE_KEY} {path} can be read by others (mode {stat.S_IMODE(found.st_mode):04o}): chmod 0600 it, and "
            "issue a new certificate if others could read it for long"
        )


def _certificates(setting: str, path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise StartupError(f"{setting} {path} holds no certificate in PEM form: {error}") from error


def _check_key(files: TlsFiles, content: bytes, certificate: x509.Certificate) -> None:
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise StartupError(
            f"{PRIVATE_KEY} {files.key} is protected by a password, and nobody could type it: store it without one, "
            "readable for this user only"
        ) from error
    except ValueError as error:
        raise StartupError(f"{PRIVATE_KEY} {files.key} holds no private key in PEM form") from error
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise StartupError(
            f"{PRIVATE_KEY} {files.key} is not the key of the first certificate in {CERT_KEY} {files.certificate}: "
            "install the two that were issued together"
        )


def _check_validity(setting: str, path: Path, found: list[x509.Certificate], now_s: float) -> None:
    for certificate in found:
        starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        subject = certificate.subject.rfc4514_string()
        if ends.timestamp() <= now_s:
            raise StartupError(f"{setting} {path}: '{subject}' expired on {_date(ends.timestamp())}: renew it")
        if starts.timestamp() > now_s:
            raise StartupError(
                f"{setting} {path}: '{subject}' is not valid before {_date(starts.timestamp())}: check the clock"
            )


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(files.certificate, files.key)
        context.load_verify_locations(files.authority)
    except (ssl.SSLError, OSError) as error:
        text = explain(error) if isinstance(error, ssl.SSLError) else str(error)
        listed = ", ".join(f"{setting} {path}" for setting, path in files.rows())
        raise StartupError(f"{listed}: OpenSSL refuses them: {text}") from error
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    else:
        context.hostname_checks_common_name = False
    return context


def _shake_hands(contexts: TlsContexts, host: str) -> None:
    """A handshake of this node with itself, in memory. Raises ssl.SSLError as the other nodes would."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts.client.wrap_bio(inward, outward, server_hostname=host.partition("%")[0]),
        contexts.server.wrap_bio(outward, inward, server_side=True),
    ]
    for _ in range(HANDSHAKE_ROUNDS):
        ends = list(_unfinished(ends))
        if not ends:
            return
    raise ssl.SSLError(0, "the handshake came to no end")


def _unfinished(ends: list[ssl.SSLObject]) -> Iterator[ssl.SSLObject]:
    for end in ends:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            yield end


def _date(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")

"""A small authority for the certificates of one cluster's nodes: `orchestrator-raft pki`.

Rules
- Keys are ECDSA P-256, files of keys have mode 0600 from the moment they exist, and nothing is ever overwritten.
- A node's certificate serves both ends of a connection and names every host and address under which RaftNodes may list
  the node; it never outlives its authority.
- The authority's key is needed to issue, and on no node: keep it away from them.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator_raft.core.errors import InvalidInput, Refused

AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca-key.pem"
NODE, NODE_KEY = "node.pem", "node-key.pem"
AUTHORITY_DAYS, NODE_DAYS, DAYS_MAX = 3650, 730, 36500
BACKDATED = timedelta(hours=1)
"""Clocks of the nodes may differ."""
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"^(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\Z")
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Issued:
    """The files that were written and when the certificate expires."""

    certificate: Path
    key: Path
    authority: Path
    expires: datetime


def make_authority(directory: Path, days: int = AUTHORITY_DAYS) -> Issued:
    """A new authority in ``directory``. Raises Refused if there is one, InvalidInput for what cannot be."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"orchestrator_raft authority {secrets.token_hex(4)}")
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(key.public_key(), name, name, now, now + _days(days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    written = _write(directory, {AUTHORITY_KEY: _key_pem(key), AUTHORITY: certificate.public_bytes(_PEM)})
    return Issued(written[AUTHORITY], written[AUTHORITY_KEY], written[AUTHORITY], certificate.not_valid_after_utc)


def issue(authority: Path, hosts: Sequence[str], out: Path, days: int = NODE_DAYS) -> Issued:
    """A certificate and key for one node, in ``out``, with a copy of the authority's certificate.

    ``hosts`` are DNS names or IP addresses. Raises Refused where files exist, InvalidInput for what cannot be.
    """
    if not hosts:
        raise InvalidInput(
            "a certificate needs at least one --host or --ip: those under which RaftNodes lists the node"
        )
    names = list(dict.fromkeys(_general_name(host) for host in hosts))
    signer, signer_key = _read_authority(authority)
    now = datetime.now(UTC)
    if signer.not_valid_after_utc <= now:
        raise Refused(f"the authority in {authority} expired on {signer.not_valid_after_utc:%Y-%m-%d}: make a new one")
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    expires = min(now + _days(days), signer.not_valid_after_utc)
    certificate = (
        _builder(key.public_key(), _name(hosts[0]), signer.subject, now, expires)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        .sign(signer_key, hashes.SHA256())
    )
    content = {NODE_KEY: _key_pem(key), NODE: certificate.public_bytes(_PEM), AUTHORITY: signer.public_bytes(_PEM)}
    written = _write(out, content)
    return Issued(written[NODE], written[NODE_KEY], written[AUTHORITY], certificate.not_valid_after_utc)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if _HOST.match(host.lower()) is None or host.rpartition(".")[2].isdigit():
        raise InvalidInput(f"'{host}' is no host name and no IP address: write it as in RaftNodes, without the port")
    return x509.DNSName(host.lower())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _days(days: int) -> timedelta:
    if not 0 < days <= DAYS_MAX:
        raise InvalidInput(f"a certificate is valid for 1 to {DAYS_MAX} days, not {days}")
    return timedelta(days=days)


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now: datetime, expires: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _read_authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate((directory / AUTHORITY).read_bytes())
        key = serialization.load_pem_private_key((directory / AUTHORITY_KEY).read_bytes(), None)
    except OSError as error:
        raise InvalidInput(
            f"{error.filename} cannot be read: {error.strerror}; 'orchestrator-raft pki init {directory}' makes one"
        ) from error
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{directory} holds no authority made by 'orchestrator-raft pki init': {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise InvalidInput(f"{directory / AUTHORITY_KEY} is not the key of {directory / AUTHORITY}")
    return certificate, key


def _write(directory: Path, content: dict[str, bytes]) -> dict[str, Path]:
    """All files or, where one exists already, none. Raises Refused, or InvalidInput if the disk says no."""
    paths = {name: directory / name for name in content}
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in paths.values():
            if path.exists():
                raise Refused(f"{path} exists and is not overwritten: choose another directory, or move it away")
        for name, data in content.items():
            _write_new(paths[name], data, 0o600 if name in (AUTHORITY_KEY, NODE_KEY) else 0o644)
    except OSError as error:
        raise InvalidInput(f"{error.filename} cannot be written: {error.strerror}") from error
    return paths


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

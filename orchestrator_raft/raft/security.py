"""What two nodes ask of each other before they talk: certificates where TLS is given, else the shared secret.

Rules
- Off loopback there is TLS, or nothing is said, unless plain text was allowed for a closed network.
- Where there are certificates they are used, on loopback and off it, and the secret is not.
- The file that an accepting node names is used, and named, on loopback only: elsewhere a path means nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.secret import Secret, named_secret
from orchestrator_raft.raft.settings import CA_KEY, CERT_KEY, PLAINTEXT_VARIABLE, PRIVATE_KEY, Address
from orchestrator_raft.raft.tls import NodeTls, check_peer


@dataclass(frozen=True, slots=True)
class Security:
    """How nodes prove that they belong: TLS where given, else the secret."""

    secret: Secret
    tls: NodeTls | None = None
    plaintext: bool = False
    """Plain text off loopback is allowed."""

    def server_context(self) -> ssl.SSLContext | None:
        """For the next connection that is accepted; None without TLS."""
        return self.tls.contexts().server if self.tls is not None else None

    def client_context(self) -> ssl.SSLContext | None:
        """For the next connection that is dialled; None without TLS."""
        return self.tls.contexts().client if self.tls is not None else None

    def check_peer(self, certificate: Mapping[str, Any] | None, hosts: Sequence[str]) -> None:
        """Raises ProtocolError under TLS unless the certificate names one of ``hosts``."""
        if self.tls is not None:
            check_peer(certificate, hosts)

    def look(self) -> None:
        """To be called now and then: certificates expire, and are renewed."""
        if self.tls is not None:
            self.tls.look()

    def own_key(self) -> bytes:
        return b"" if self.tls is not None else self.secret.key

    def key_for(self, named_path: str, ip: str) -> bytes:
        """What to prove to the node at ``ip``, which names the file of its secret."""
        named = named_secret(named_path) if named_path and _is_loopback(ip) and self.tls is None else None
        return named.key if named is not None else self.own_key()

    def named_path(self, ip: str) -> str:
        """The path is told only where it means something: on this machine."""
        return self.secret.path if self.tls is None and _is_loopback(ip) else ""

    def check(self, address: Address, ip: str) -> None:
        """Raises StartupError if nothing may be said in plain text to or from there."""
        if self.tls is None and not self.plaintext and not _is_loopback(ip):
            raise StartupError(
                f"{address} is off loopback and there are no TLS certificates for the nodes: make them with "
                f"'orchestrator-raft pki' and set {CERT_KEY}, {PRIVATE_KEY} and {CA_KEY}, or set "
                f"{PLAINTEXT_VARIABLE}=1 in the environment (for a closed network only)"
            )


def _is_loopback(ip: str) -> bool:
    literal = Address(ip, 1).ip
    return literal is not None and literal.is_loopback

"""What two nodes ask of each other before they talk: certificates where TLS is given, else the shared secret.

Rules
- Off loopback there is TLS, or nothing is said, unless plain text was allowed for a closed network.
- The file that an accepting node names is used, and named, on loopback only: elsewhere a path means nothing.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft.secret import Secret, named_secret
from orchestrator_raft.raft.settings import PLAINTEXT_VARIABLE, Address


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """Both must verify the other side's certificate."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Security:
    """How nodes prove that they belong: TLS where given, else the secret."""

    secret: Secret
    tls: TlsContexts | None = None
    plaintext: bool = False
    """Plain text off loopback is allowed."""

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
                f"'orchestrator-raft pki', or set {PLAINTEXT_VARIABLE}=1 in the environment (for a closed network only)"
            )


def _is_loopback(ip: str) -> bool:
    literal = Address(ip, 1).ip
    return literal is not None and literal.is_loopback

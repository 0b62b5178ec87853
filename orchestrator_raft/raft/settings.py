"""What a node of the cluster is told: plain values, checked once, read by everything in this package.

Rules
- Nothing here reads a file or resolves a name. The one thing taken from outside is the environment variable that allows
  plain text off loopback, because the configuration file stays unchanged for that (design D5).
- An address is ``host[:port]``, ``[v6]:port`` or a bare IPv6 address; its text with the port is the name of its place.
- Times are seconds.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator_raft.core.errors import StartupError

DEFAULT_RAFT_PORT = 10008
PLAINTEXT_VARIABLE = "ORCHESTRATOR_RAFT_PLAINTEXT"
CERT_KEY, PRIVATE_KEY, CA_KEY = "RaftSSLCertFile", "RaftSSLPrivateKeyFile", "RaftSSLCAFile"
_ADDRESS = re.compile(r"^(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?$")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a node listens or can be reached. ``str`` gives the text that names it everywhere."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The literal address, or None for a name."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return None

    @property
    def is_wildcard(self) -> bool:
        """Stands for every address of the machine, as 0.0.0.0 and :: do."""
        return self.host in ("", "*") or (self.ip is not None and self.ip.is_unspecified)


def parse_address(text: str, default_port: int, key: str) -> Address:
    """``text`` as an address. Raises StartupError that names ``key``, the setting the text comes from."""
    stripped = text.strip().lower()
    if _is_bare_v6(stripped):
        return Address(stripped, default_port)
    match = _ADDRESS.match(stripped)
    port = int(match["port"] or default_port) if match is not None else 0
    if match is None or not 0 < port < 65536:
        raise StartupError(
            f"{key}: '{text}' is no address: write host, host:port or [IPv6]:port with a port of 1 to 65535"
        )
    return Address(match["v6"] or match["host"], port)


def _is_bare_v6(text: str) -> bool:
    if text.count(":") < 2 or text.startswith("["):
        return False
    try:
        return ipaddress.ip_address(text.partition("%")[0]).version == 6
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a node finds its certificate (with intermediate ones behind it), its key and the authority, all PEM."""

    certificate: Path
    key: Path
    authority: Path

    def rows(self) -> tuple[tuple[str, Path], ...]:
        """Each file beside the configuration key that names it."""
        return (CERT_KEY, self.certificate), (PRIVATE_KEY, self.key), (CA_KEY, self.authority)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of elections and leases (design D4); PySyncObj gets the same."""

    election_min_s: float = 0.5
    election_max_s: float = 1.0
    heartbeat_s: float = 0.1
    drift_margin_s: float = 0.05
    """Taken off every lease: how much faster a follower's clock may run than the leader's, with a wide reserve, and how
    long the leader's may have stood still without being noticed."""
    tick_s: float = 0.025

    @property
    def lease_s(self) -> float:
        """How long a lease lasts from the send time that it rests on."""
        return self.election_min_s - self.drift_margin_s

    @property
    def jump_s(self) -> float:
        """What a clock may jump by in the length of a lease; the rest of the margin is for drift."""
        return 0.75 * self.drift_margin_s

    def __post_init__(self) -> None:
        if not 0 < 3 * self.heartbeat_s < self.election_min_s < self.election_max_s:
            raise StartupError("election times must satisfy 3 x heartbeat < election minimum < election maximum")
        if not 0 <= self.drift_margin_s < self.election_min_s / 2:
            raise StartupError("the drift margin of the lease must be below half the election minimum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every queue, frame and wait has a limit; these are they. Sizes are bytes."""

    command_bytes: int = 512 * 1024
    batch_bytes: int = 1024 * 1024
    """Entries of one append frame; a single command is always smaller."""
    frame_bytes: int = 4 * 1024 * 1024
    in_flight_bytes: int = 4 * 1024 * 1024
    """Appended to one follower and not acknowledged; beyond it the follower gets heartbeats only."""
    snapshot_bytes: int = 1024 * 1024 * 1024
    snapshot_chunk_bytes: int = 256 * 1024
    journal_entries: int = 10_000
    """A snapshot is taken and the journal trimmed when it is longer than this, or than ``journal_bytes``."""
    journal_bytes: int = 64 * 1024 * 1024
    retained_entries: int = 2_000
    """Trimmed entries kept in memory, so that a follower slightly behind needs no snapshot."""
    retained_bytes: int = 16 * 1024 * 1024
    replay_s: float = 1.0
    """A snapshot is also taken when applying the journal again at the next start would take longer than this."""
    uncommitted_entries: int = 4_096
    pending_proposals: int = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftSettings:
    """The Raft part of a node's configuration. Empty ``bind`` and ``advertise`` take their defaults as the peers do."""

    data_dir: Path | None = None
    """None keeps everything in memory, which only a node that is alone may do."""
    bind: str = ""
    advertise: str = ""
    nodes: tuple[str, ...] = ()
    default_port: int = DEFAULT_RAFT_PORT
    enabled: bool = True
    """False: a single voter on the same code that listens nowhere."""
    timing: Timing = Timing()
    limits: Limits = Limits()
    resolve_timeout_s: float = 30.0
    """How long ``start`` waits for names in ``nodes`` to resolve while it looks for its own entry."""
    tls: TlsFiles | None = None
    """Certificates for the connections between nodes; used on loopback, too, where they are given."""
    plaintext: bool = field(default_factory=lambda: os.environ.get(PLAINTEXT_VARIABLE) == "1")
    """Allows connections off loopback without TLS; for a closed network."""

    def bind_address(self) -> Address:
        return parse_address(self.bind or "127.0.0.1", self.default_port, "RaftBind")

    def advertise_address(self) -> Address:
        """What this node calls itself. Raises StartupError."""
        return (
            parse_address(self.advertise, self.default_port, "RaftAdvertise") if self.advertise else self.bind_address()
        )

    def entries(self) -> tuple[Address, ...]:
        """RaftNodes in order, each once. Raises StartupError."""
        return tuple(dict.fromkeys(parse_address(text, self.default_port, "RaftNodes") for text in self.nodes))

"""What a server tells of itself that has nothing to do with replication: settings, load, group membership.

Values only, like ``instance``, whose facts hold them. None means that the server did not tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings that decide what a crash costs and how soon it is noticed; people change them, nothing else does."""

    binlog_sync: int | None = None
    """sync_binlog: the binary log is flushed to disk once in so many commits; 0 leaves it to the system."""
    redo_flush: int | None = None
    """innodb_flush_log_at_trx_commit; only 1 survives a power loss without losing commits."""
    net_timeout_s: int | None = None
    """replica_net_timeout: a receiver that hears nothing for so long gives its connection up."""
    event_scheduler: bool | None = None
    """event_scheduler: scheduled events are run. None also where it is DISABLED, so that nobody can change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How full the server is, and whether its disk keeps up. All of it moves by itself."""

    connections: int | None = None
    connections_max: int | None = None
    syncs: int = 0
    """Flushes to disk that were finished since it started."""
    syncs_pending: int = 0
    """Flushes to disk that it waits for now."""

    @property
    def is_saturated(self) -> bool:
        return self.connections is not None and 0 < (self.connections_max or 0) <= self.connections


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPeer:
    """A member of a replication group, as another member sees it."""

    hostname: str
    port: int
    state: str
    role: str


@dataclass(frozen=True, slots=True)
class GroupMember:
    """Its place in a replication group (MySQL group replication)."""

    group_name: str
    state: str
    """ONLINE, RECOVERING, OFFLINE, ERROR or UNREACHABLE, as the server itself says."""
    role: str
    """PRIMARY or SECONDARY; empty where the group has not said."""
    single_primary: bool = True
    """One member takes writes, and the group elects it; else all of them do."""
    members: tuple[GroupPeer, ...] = ()
    """Everybody in the group, itself included, as it sees them now."""

    @property
    def is_active(self) -> bool:
        return self.state != "OFFLINE"


SETTINGS_UNKNOWN = ServerSettings()
LOAD_UNKNOWN = Load()
_NO_SPACE = re.compile(r"no space left|errno: 28|disk (is )?full|\b(1021|1114)\b", re.IGNORECASE)


def tells_full_disk(error: str) -> bool:
    """An error of a server says that its disk is full."""
    return _NO_SPACE.search(error) is not None

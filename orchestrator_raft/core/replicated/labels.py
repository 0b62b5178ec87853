"""What people call things, as replicated values: tags of servers, pools of servers, virtual names of hosts.

Values only; how they come and go is in ``policies``. Each says who set it and when, in replicated milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.instance import InstanceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A name on a server, with a value that may be empty."""

    name: str
    value: str = ""
    by: str = ""
    set_ms: int = 0

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Servers that somebody's load balancer uses together; gone at its end unless it is submitted again."""

    name: str
    members: tuple[InstanceKey, ...]
    by: str
    set_ms: int
    ends_ms: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualName:
    """Another host name of a server, under which replicas may know it."""

    key: InstanceKey
    hostname: str
    by: str
    set_ms: int
    version: int = 0

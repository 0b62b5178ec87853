"""The commands by which people set policies and labels. The rules of ``commands`` hold here, too."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.instance import InstanceKey, PromotionRule
from orchestrator_raft.core.replicated.commands import Command, PolicyCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginMaintenance(PolicyCommand):
    """A person works on a server until ``ends_ms``: nobody else changes it."""

    key: InstanceKey
    owner: str
    reason: str
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMaintenance(PolicyCommand):
    """End the maintenance of a server, or (without a key) the one of this number."""

    key: InstanceKey | None = None
    number: int = 0
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterRule(PolicyCommand):
    """A person gives a server a promotion rule until ``ends_ms``."""

    key: InstanceKey
    rule: PromotionRule
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRule(PolicyCommand):
    """The rule that is detected counts again; ``expired`` when its time has come, by the leader."""

    key: InstanceKey
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TagServer(Command):
    """Put a tag on a server; one of the same name is replaced."""

    key: InstanceKey
    name: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UntagServers(Command):
    """Take a tag off a server, or (without a key) off all; with a value only where it has that value."""

    name: str
    key: InstanceKey | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitPool(PolicyCommand):
    """These servers, and no others, make up the pool until ``ends_ms``."""

    name: str
    members: tuple[InstanceKey, ...]
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPool(PolicyCommand):
    """There is no such pool any more."""

    name: str
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClusterAlias(PolicyCommand):
    """A person names a cluster; an empty alias leaves it to its primary again."""

    cluster_id: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVirtualName(PolicyCommand):
    """Another host name of a server; an empty one takes it away."""

    key: InstanceKey
    hostname: str


POLICY_COMMANDS: tuple[type[Command], ...] = (
    BeginMaintenance,
    EndMaintenance,
    RegisterRule,
    DropRule,
    TagServer,
    UntagServers,
    SubmitPool,
    DropPool,
    SetClusterAlias,
    SetVirtualName,
)

"""``Settings``: the whole configuration of one node as one frozen value, flat, fields named like the keys.

Only app and cli import this; they hand plain values to what is below. ``Settings`` has no global instance, and it is
never written out in clear: ``repr`` and every serialisation show ``masked()``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr, model_serializer
from pydantic.fields import FieldInfo

from orchestrator_raft.config.eyes import Eyes
from orchestrator_raft.config.findings import without_credentials
from orchestrator_raft.config.repair import Hooks, Raft, RaftTls, Recovery, Speed
from orchestrator_raft.config.returns import Returns
from orchestrator_raft.config.servers import Classification, Discovery, Lag, ServerAccess
from orchestrator_raft.config.service import Access, AccessGuards, Group, Publication, Service
from orchestrator_raft.config.telling import Telling
from orchestrator_raft.config.values import Address, parse_address
from orchestrator_raft.core.instance import InstanceKey, parse_key

MASK = "********"
GROUPS: tuple[type[Group], ...] = (
    Service, Raft, RaftTls, ServerAccess, Discovery, Classification, Lag, Speed, Eyes, Returns, Recovery, Hooks,
    Access, AccessGuards, Publication, Telling,
)  # fmt: skip


class Settings(
    Service, Raft, RaftTls, ServerAccess, Discovery, Classification, Lag, Speed, Eyes, Returns, Recovery, Hooks,
    Access, AccessGuards, Publication, Telling,
):  # fmt: skip
    """Every key that is used or will be, checked one by one. Rules between keys are in ``checks``."""

    @property
    def listen(self) -> Address:
        """Where HTTP is served; host None means every address."""
        return parse_address(self.listen_address)

    @property
    def raft_bind_address(self) -> Address:
        return parse_address(self.raft_bind, self.default_raft_port)

    @property
    def raft_advertise_address(self) -> Address:
        """Where the other nodes dial this one."""
        return parse_address(self.raft_advertise or self.raft_bind, self.default_raft_port)

    @property
    def raft_node_addresses(self) -> tuple[Address, ...]:
        """All members as written in RaftNodes, with ports; which of them is this node is not decided here."""
        return tuple(parse_address(text, self.default_raft_port) for text in self.raft_nodes)

    @property
    def discovery_seed_keys(self) -> tuple[InstanceKey, ...]:
        return tuple(parse_key(text, self.default_instance_port) for text in self.discovery_seeds)

    @property
    def probe_interval_s(self) -> float:
        return self.probe_interval_milliseconds / 1000

    @property
    def probe_timeout_s(self) -> float:
        return self.probe_timeout_milliseconds / 1000

    @property
    def witness_timeout_s(self) -> float:
        return self.witness_timeout_milliseconds / 1000

    @property
    def demotion_block_limit_s(self) -> float:
        return self.demotion_block_limit_milliseconds / 1000

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        yield from self.masked().items()

    @model_serializer(mode="plain")
    def masked(self) -> dict[str, Any]:
        """Every key with its value as JSON, fit for logs and answers: secrets and hook commands are covered."""
        return {
            field.alias or name: _masked(field, getattr(self, name)) for name, field in type(self).model_fields.items()
        }


def marks(field: FieldInfo) -> Mapping[str, Any]:
    """What ``key()`` said about a field: ``expands`` and ``hidden``."""
    extra = field.json_schema_extra
    return MappingProxyType(extra if isinstance(extra, dict) else {})


def is_secret(field: FieldInfo) -> bool:
    """May the value hold a secret, so that it is never shown?"""
    return field.annotation is SecretStr or bool(marks(field).get("hidden"))


def _hidden(text: str) -> str:
    return f"(hidden, {len(text)} characters)"


def _masked(field: FieldInfo, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, str):
        return without_credentials(value)
    if not isinstance(value, tuple):
        return value
    is_map = field.annotation == tuple[tuple[str, str], ...]
    if marks(field).get("hidden"):
        return {name: _hidden(text) for name, text in value} if is_map else [_hidden(text) for text in value]
    return dict(value) if is_map else list(value)

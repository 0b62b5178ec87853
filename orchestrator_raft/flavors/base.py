"""What a database dialect has to offer: the queries of a probe, rows to facts, and steps to statements.

Rules: everything here is pure. A dialect knows SQL and result rows and nothing of connections; the adapters know
connections and nothing of SQL. A new dialect is one module that offers ``Dialect`` and a row in ``flavors.DIALECTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator_raft.core.instance import Facts, Flavor, InstanceKey
from orchestrator_raft.core.recovery.steps import ServerStep

Row = Mapping[str, Any]
Rows = Sequence[Row]
"""Rows by column name. Values are texts as the server sends them, or None; a dialect reads numbers out of them."""


@dataclass(frozen=True, slots=True)
class ProbeQuery:
    """One statement of a probe, with one result; the failure of an ``optional`` one costs only its own fact."""

    name: str
    sql: str
    optional: bool = False
    absent_errors: frozenset[int] = frozenset()
    """Server error numbers of an optional one that mean: this server has no such thing. Nobody needs to hear of it."""
    once: bool = False
    """Asked with the first probe over a connection, since it waits for what a login waits for too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The configured queries and patterns by which a server's place and names are found."""

    cluster_alias_query: str = ""
    cluster_domain_query: str = ""
    instance_alias_query: str = ""
    promotion_rule_query: str = ""
    data_center_query: str = ""
    region_query: str = ""
    environment_query: str = ""
    semi_sync_enforced_query: str = ""
    lag_query: str = ""
    data_center_pattern: str = ""
    region_pattern: str = ""
    environment_pattern: str = ""
    mysql_hostname_resolve_method: str = "@@hostname"
    """``none``, ``@@hostname`` or ``@@report_host``: what becomes the server's key."""
    cluster_name_to_alias: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of a step.

    ``then`` turns the rows into further statements (list sessions, then kill each). ``check`` turns them into a
    complaint, or '' when all is well; with ``until_checked`` the statement is repeated until there is no complaint or
    the step's deadline has passed: that is how a post-condition is awaited.
    """

    sql: str
    masked: str = ""
    """What to log and show instead of ``sql`` where that holds a secret."""
    ignored_errors: frozenset[int] = frozenset()
    """Server error numbers that mean: it is so already."""
    then: Callable[[Rows], tuple[Statement, ...]] | None = None
    check: Callable[[Rows], str] | None = None
    until_checked: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """A replication account, handed to ``plan`` where a statement needs one."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"<Account {self.user}>"


class Dialect(Protocol):
    """One database dialect."""

    @property
    def flavor(self) -> Flavor: ...

    def probe(self, detection: Detection) -> tuple[ProbeQuery, ...]:
        """All statements of one probe, sent together; optional ones last."""

    def parse(self, asked: InstanceKey, rows: Mapping[str, Rows], detection: Detection) -> Facts:
        """Facts from the rows by query name; ``asked`` is the address dialled. Raises ValueError on nonsense."""

    def plan(self, step: ServerStep, facts: Facts, account: Account | None = None) -> tuple[Statement, ...]:
        """The statements that reach the step's goal on a server with these facts, post-condition last."""

    def account_queries(self, facts: Facts) -> tuple[str, ...]:
        """Queries that yield (user, password) of the server's own replication channel, where the dialect has any."""

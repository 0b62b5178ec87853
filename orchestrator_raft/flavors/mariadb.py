"""The dialect of MariaDB 10.11 and newer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestrator_raft.core.instance import Facts, Flavor, InstanceKey
from orchestrator_raft.core.recovery.steps import ServerStep
from orchestrator_raft.flavors import mariadb_fence, mariadb_rows, mariadb_steps
from orchestrator_raft.flavors.base import Account, Detection, ProbeQuery, Rows, Statement
from orchestrator_raft.flavors.plans import Speech, plan

SPEECH = Speech(
    grammar=mariadb_steps.GRAMMAR,
    fence=mariadb_fence.fence,
    set_read_only=mariadb_steps.set_read_only,
    set_writable=mariadb_steps.set_writable,
    wait_applied=mariadb_steps.wait_applied,
)


@dataclass(frozen=True, slots=True)
class MariadbDialect:
    """MariaDB Server."""

    flavor: ClassVar[Flavor] = Flavor.MARIADB

    def probe(self, detection: Detection) -> tuple[ProbeQuery, ...]:
        return mariadb_rows.probe_queries(detection)

    def parse(self, asked: InstanceKey, rows: Mapping[str, Rows], detection: Detection) -> Facts:
        return mariadb_rows.facts_of(asked, rows, detection)

    def plan(self, step: ServerStep, facts: Facts, account: Account | None = None) -> tuple[Statement, ...]:
        return plan(SPEECH, step, facts, account)

    def account_queries(self, facts: Facts) -> tuple[str, ...]:
        """None: MariaDB keeps a channel's password in a file of its own and tells it to nobody."""
        return ()

"""The dialect of MySQL 8.4 and newer (8.0.26 and newer are understood, but not tested)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestrator_raft.core.instance import Facts, Flavor, InstanceKey
from orchestrator_raft.core.recovery.steps import ServerStep
from orchestrator_raft.flavors import mysql_fence, mysql_rows, mysql_steps
from orchestrator_raft.flavors.base import Account, Detection, ProbeQuery, Rows, Statement
from orchestrator_raft.flavors.plans import Speech, plan

SPEECH = Speech(
    grammar=mysql_steps.GRAMMAR,
    fence=mysql_fence.fence,
    set_read_only=mysql_steps.set_read_only,
    set_writable=mysql_steps.set_writable,
    wait_applied=mysql_steps.wait_applied,
)


@dataclass(frozen=True, slots=True)
class MysqlDialect:
    """MySQL and Percona Server."""

    flavor: ClassVar[Flavor] = Flavor.MYSQL

    def probe(self, detection: Detection) -> tuple[ProbeQuery, ...]:
        return mysql_rows.probe_queries(detection)

    def parse(self, asked: InstanceKey, rows: Mapping[str, Rows], detection: Detection) -> Facts:
        return mysql_rows.facts_of(asked, rows, detection)

    def plan(self, step: ServerStep, facts: Facts, account: Account | None = None) -> tuple[Statement, ...]:
        return plan(SPEECH, step, facts, account)

    def account_queries(self, facts: Facts) -> tuple[str, ...]:
        return mysql_steps.account_queries(facts)

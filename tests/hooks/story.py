"""A recovery to tell hooks about, and what a test of hooks works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.recovery.model import Recovery, Request, Subject
from orchestrator_raft.hooks.commands import CommandHooks
from orchestrator_raft.tasks import Tasks

FAILED = InstanceKey("db1.example", 3306)
REPLICAS = (InstanceKey("db2.example", 3306), InstanceKey("db3.example", 3307))
SUBJECT = Subject(
    key=FAILED,
    code="DeadMaster",
    text="The primary is dead; its replicas answer and none of them replicates",
    cluster_name="db1.example:3306",
    cluster_alias="shop",
    cluster_domain="shop.example",
    replicas=REPLICAS,
    count_replicas=2,
    automated_primary=True,
)
RECOVERY = Recovery(
    id="r-7",
    kind="dead_primary",
    cluster_id="c1",
    subject=SUBJECT,
    request=Request(command="force-master-failover"),
    holder="n1",
    term=3,
    phase="begin",
    started_ms=1,
    deadline_ms=2,
)
PROMOTED = replace(RECOVERY, successor=REPLICAS[0], promoted=True, lost=(REPLICAS[1],))


def with_alias(alias: str) -> Recovery:
    return replace(RECOVERY, subject=replace(SUBJECT, cluster_alias=alias))


@dataclass
class Bench:
    """The hooks under test, and all that was said to their audit or failed behind their back."""

    hooks: CommandHooks
    tasks: Tasks
    audited: list[tuple[InstanceKey, str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


MakeBench = Callable[..., Bench]

"""Rows to try hooks before they are needed: what would run for a failover of a cluster, and a drill that runs it."""

from __future__ import annotations

from orchestrator_raft.operations.model import CLUSTER, MAYBE_TARGET, Operation, Parameter, act

LIST = Parameter(name="list", help="name of the list, as PreFailoverProcesses")

HOOK_ROWS: tuple[Operation, ...] = (
    act("hooks-preview", "Show the hooks of a list as they would run for a cluster, without running them",
        native="POST /clusters/{cluster}/hooks/preview", parameters=(CLUSTER, LIST, MAYBE_TARGET), secret=True),
    act("hooks-drill", "Run the hooks of a list for a cluster although nothing has happened, marked as a drill",
        native="POST /clusters/{cluster}/hooks/drill", parameters=(CLUSTER, LIST, MAYBE_TARGET), takes_long=True),
)  # fmt: skip

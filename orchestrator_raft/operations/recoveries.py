"""Rows that recover, fail over, hand over, acknowledge, and the brakes: disable, pause."""

from __future__ import annotations

from orchestrator_raft.operations.model import (
    ACCEPT_LOSS,
    CAREFUL,
    CLUSTER,
    COMMENT,
    DRY_RUN,
    MAYBE_CLUSTER,
    MAYBE_TARGET,
    REASON,
    SERVER,
    TARGET,
    Kind,
    Operation,
    Parameter,
    act,
)


def _takeover_paths(word: str) -> tuple[str, ...]:
    target = "{targetHost}/{targetPort}"
    forms = ("{host}/{port}", "{hint}", "{host}/{port}/" + target, "{hint}/" + target)
    return tuple(f"{word}/{form}" for form in forms)


RECOVERY_ROWS: tuple[Operation, ...] = (
    act("recover", "Recover a server that analysis reports as failed", "recover/{host}/{port}",
        "recover/{host}/{port}/{targetHost}/{targetPort}", takes_long=True,
        parameters=(SERVER, MAYBE_TARGET,
                     Parameter(name="skipProcesses", kind=Kind.FLAG, required=False, help="run no hooks")),
        native="POST /servers/{server}/recover"),
    act("recover-lite", "The same without hooks", "recover-lite/{host}/{port}",
        "recover-lite/{host}/{port}/{targetHost}/{targetPort}", takes_long=True, parameters=(SERVER, MAYBE_TARGET)),
    act("force-master-failover", "Treat the primary as dead and fail over now", "force-master-failover/{host}/{port}",
        "force-master-failover/{hint}", takes_long=True,
        parameters=(CLUSTER, MAYBE_TARGET, CAREFUL, ACCEPT_LOSS, DRY_RUN), native="POST /clusters/{cluster}/failover"),
    act("force-master-takeover", "Treat the primary as dead and promote this replica",
        "force-master-takeover/{hint}/{targetHost}/{targetPort}",
        "force-master-takeover/{host}/{port}/{targetHost}/{targetPort}", takes_long=True,
        parameters=(CLUSTER, TARGET, CAREFUL, ACCEPT_LOSS, DRY_RUN)),
    act("graceful-master-takeover", "Hand the primary role to a replica; the old primary is left stopped",
        *_takeover_paths("graceful-master-takeover"), takes_long=True, parameters=(CLUSTER, MAYBE_TARGET, DRY_RUN),
        native="POST /clusters/{cluster}/graceful-master-takeover"),
    act("graceful-master-takeover-auto", "Hand the primary role to a replica, the best if none is named",
        *_takeover_paths("graceful-master-takeover-auto"), takes_long=True, parameters=(CLUSTER, MAYBE_TARGET, DRY_RUN),
        native="POST /clusters/{cluster}/takeover"),
    act("ack-recovery", "Acknowledge one recovery", "ack-recovery/{id}", "ack-recovery/uid/{id}",
        parameters=(Parameter(name="id", help="number or UID"), COMMENT), native="POST /recoveries/{id}/acknowledge"),
    act("ack-recovery-cluster", "Acknowledge the recoveries of a cluster", "ack-recovery/cluster/{hint}",
        "ack-recovery/cluster/alias/{hint}", parameters=(CLUSTER, COMMENT),
        native="POST /clusters/{cluster}/acknowledge"),
    act("ack-recovery-instance", "Acknowledge the recoveries of a server", "ack-recovery/instance/{host}/{port}",
        parameters=(SERVER, COMMENT), native="POST /servers/{server}/acknowledge"),
    act("ack-all-recoveries", "Acknowledge all recoveries", "ack-all-recoveries", parameters=(COMMENT,),
        native="POST /recoveries/acknowledge"),
    act("disable-global-recoveries", "Stop automatic recoveries; manual ones still run", "disable-global-recoveries",
        native="POST /recoveries/disable"),
    act("enable-global-recoveries", "Allow automatic recoveries", "enable-global-recoveries",
        native="POST /recoveries/enable"),
    act("pause-writes", "Let nobody write to the servers of a cluster, or of all; a running recovery ends first",
        parameters=(MAYBE_CLUSTER, REASON), native="POST /pauses"),
    act("resume-writes", "End a pause of a cluster, or the one of all", parameters=(MAYBE_CLUSTER,),
        native="DELETE /pauses"),
)  # fmt: skip

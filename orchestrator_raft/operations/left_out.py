"""orchestrator's routes that this product leaves out on purpose, each with the one line that they are answered with.

They are rows like any other but not among ``OPERATIONS``: no sub-command, no native path, no entry in a list.
"""

from __future__ import annotations

from orchestrator_raft.operations.model import Operation, Where

_PAIR, _BELOW = "{host}/{port}", "{targetHost}/{targetPort}"


def _left_out(name: str, why: str, *paths: str) -> Operation:
    return Operation(name=f"left-out-{name}", help=why, compatible=paths, where=Where.HERE)


LEFT_OUT: tuple[Operation, ...] = (
    _left_out(
        "agents", "Agents not served: there are no agents here; copy data with the clone plugin or your backup tool",
        "agents", "agent/{h}", "agent-umount/{h}", "agent-mount/{h}", "agent-create-snapshot/{h}",
        "agent-removelv/{h}", "agent-mysql-stop/{h}", "agent-mysql-start/{h}", "agent-seed/{h}/{s}",
        "agent-active-seeds/{h}", "agent-recent-seeds/{h}", "agent-seed-details/{id}", "agent-seed-states/{id}",
        "agent-abort-seed/{id}", "agent-custom-command/{h}/{c}", "seeds",
    ),
    _left_out(
        "pseudo-gtid", "Pseudo-GTID is not supported, servers are compared by GTID: use relocate",
        f"match/{_PAIR}/{_BELOW}", f"match-below/{_PAIR}/{_BELOW}", f"match-up/{_PAIR}",
        f"match-slaves/{_PAIR}/{_BELOW}", f"match-replicas/{_PAIR}/{_BELOW}", f"match-up-slaves/{_PAIR}",
        f"match-up-replicas/{_PAIR}", f"regroup-slaves-pgtid/{_PAIR}", f"regroup-replicas-pgtid/{_PAIR}",
        f"last-pseudo-gtid/{_PAIR}",
    ),
    _left_out(
        "equivalent", "Equal positions in different servers' logs are not recorded: with GTIDs relocate needs none",
        f"master-equivalent/{_PAIR}/{{file}}/{{position}}",
    ),
    _left_out(
        "binlog-servers", "Binlog servers are recognised and never moved",
        f"regroup-slaves-bls/{_PAIR}", f"regroup-replicas-bls/{_PAIR}",
    ),
    _left_out(
        "backend", "There is no backend database, so there are no figures of it: see /metrics",
        "backend-query-metrics-raw/{seconds}", "backend-query-metrics-aggregated/{seconds}",
        "write-buffer-metrics-raw/{seconds}", "write-buffer-metrics-aggregated/{seconds}",
    ),
    _left_out(
        "snapshots", "Pictures of old topologies are not kept: audit, recoveries and events tell what changed",
        "snapshot-topologies",
    ),
    _left_out("alias", "This API call has been retired", "reload-cluster-alias"),
)  # fmt: skip

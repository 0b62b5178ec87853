"""The table of recoveries. A rule of the analysis names a row; a new recovery is one row here and its phases."""

from __future__ import annotations

from orchestrator_raft.core.recovery.dead_intermediate import DEAD_INTERMEDIATE
from orchestrator_raft.core.recovery.dead_primary import DEAD_PRIMARY
from orchestrator_raft.core.recovery.machine import Kind
from orchestrator_raft.core.recovery.net_timeout import NET_TIMEOUT
from orchestrator_raft.core.recovery.operation import OPERATION
from orchestrator_raft.core.recovery.rebuild import REBUILD
from orchestrator_raft.core.recovery.reconnect import RECONNECT
from orchestrator_raft.core.recovery.rejoin import REJOIN
from orchestrator_raft.core.recovery.semi_sync import SEMI_SYNC
from orchestrator_raft.core.recovery.single_server import FENCE_WRITER, OPEN_PRIMARY, RESTORE_SEMI_SYNC
from orchestrator_raft.core.recovery.takeover import TAKEOVER
from orchestrator_raft.core.recovery.upkeep import UPKEEP

ROWS = (
    DEAD_PRIMARY,
    DEAD_INTERMEDIATE,
    TAKEOVER,
    REJOIN,
    OPEN_PRIMARY,
    FENCE_WRITER,
    RESTORE_SEMI_SYNC,
    SEMI_SYNC,
    UPKEEP,
    NET_TIMEOUT,
    OPERATION,
    RECONNECT,
    REBUILD,
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in ROWS}

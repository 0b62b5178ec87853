"""Turns a topology that replicates by GTID into one that replicates by file and position, as people still have them."""

from __future__ import annotations

from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import Topology, in_parallel, replica_status

_DOWN = ("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF")


def to_positions(topology: Topology) -> None:
    """All replicas go on from where they stand; MySQL's servers then have no GTIDs any more, also after a restart."""
    in_parallel(_change, topology.replicas())
    if topology.flavor is Flavor.MYSQL:
        for mode in _DOWN:
            for server in topology.servers:
                server.execute(f"SET GLOBAL gtid_mode = {mode}")
        for server in topology.servers:
            server.options["gtid-mode"] = "OFF"
    topology.wait_replicating()


def _change(replica: Server) -> None:
    replica.execute("STOP REPLICA")
    status = replica_status(replica) or {}
    if replica.flavor is Flavor.MYSQL:
        file, position = status["Relay_Source_Log_File"], status["Exec_Source_Log_Pos"]
        way = f"SOURCE_AUTO_POSITION = 0, SOURCE_LOG_FILE = '{file}', SOURCE_LOG_POS = {position}"
        replica.execute(f"CHANGE REPLICATION SOURCE TO {way}")
    else:
        replica.execute("CHANGE MASTER TO MASTER_USE_GTID = no")
    replica.execute("START REPLICA")

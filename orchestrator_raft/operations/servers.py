"""Rows about what is watched: discover, refresh, forget, downtime."""

from __future__ import annotations

from orchestrator_raft.operations.model import (
    CLUSTER,
    FORCE,
    SERVER,
    Kind,
    Operation,
    Parameter,
    act,
)

SERVER_ROWS: tuple[Operation, ...] = (
    act("discover", "Probe a server and watch it from now on", "discover/{host}/{port}", parameters=(SERVER,),
        native="POST /servers/{server}/discover"),
    act("async-discover", "The same, without waiting for the probe", "async-discover/{host}/{port}",
        parameters=(SERVER,)),
    act("refresh", "Probe a known server now", "refresh/{host}/{port}", parameters=(SERVER,),
        native="POST /servers/{server}/refresh"),
    act("forget", "Stop watching a server", "forget/{host}/{port}", parameters=(SERVER, FORCE),
        native="DELETE /servers/{server}"),
    act("forget-cluster", "Stop watching a whole cluster", "forget-cluster/{hint}", parameters=(CLUSTER, FORCE),
        native="DELETE /clusters/{cluster}"),
    act("begin-downtime", "Take a server out of automatic recovery for a while",
        "begin-downtime/{host}/{port}/{owner}/{reason}", "begin-downtime/{host}/{port}/{owner}/{reason}/{duration}",
        parameters=(SERVER, Parameter(name="owner", help="who"), Parameter(name="reason", help="why"),
                     Parameter(name="duration", kind=Kind.DURATION, required=False, help="30s, 10m, 2h; default 10m")),
        native="POST /servers/{server}/downtime"),
    act("end-downtime", "End a downtime", "end-downtime/{host}/{port}", parameters=(SERVER,),
        native="DELETE /servers/{server}/downtime"),
)  # fmt: skip

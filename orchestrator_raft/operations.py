"""Every operation that people may ask for, as rows of data (design D7).

From these rows come the compatible API under ``/api/``, the native one under ``/api/v2/``, the sub-commands of raftctl
and the reference page; ``engine.service`` binds a handler to each name. To add an operation: one row here, one handler
there.

Rules for this file: data only, standard library only, so that raftctl starts fast. In a path, ``{host}/{port}`` stands
for the parameter ``server``, ``{targetHost}/{targetPort}`` for ``target``, and ``{hint}`` for ``cluster``; any other
name in braces is the parameter of that name. Query parameters carry the names of parameters that the path does not
have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Where(Enum):
    """Which node carries it out."""

    LEADER = "leader"
    """The leader; other nodes forward."""
    HERE = "here"
    """The node that was asked, about itself."""


class Kind(Enum):
    """Type of a parameter."""

    TEXT = "text"
    SERVER = "server"
    CLUSTER = "cluster"
    DURATION = "duration"
    NUMBER = "number"
    FLAG = "flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One typed parameter."""

    name: str
    kind: Kind = Kind.TEXT
    required: bool = True
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row. An operation that ``writes`` needs an authorised person; the others any admitted one."""

    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    writes: bool = False
    where: Where = Where.LEADER
    bare: bool = False
    """The compatible API answers with the value alone, not with Code, Message and Details."""
    compatible: tuple[str, ...] = ()
    """Paths below ``/api/`` as orchestrator has them, synonyms included."""
    native: str = ""
    """Method and path below ``/api/v2``."""
    takes_long: bool = False
    """It may run for minutes: no ordinary request deadline."""
    root: tuple[str, ...] = ()
    """Paths that are not below ``/api/``."""
    admits: bool = False
    """It writes, and what authorises is in its own argument."""
    secret: bool = False
    """Its answer holds a secret, which is kept nowhere: so it cannot be given again."""

    def parameter(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)


SERVER = Parameter(name="server", kind=Kind.SERVER, help="host:port of a server")
CLUSTER = Parameter(name="cluster", kind=Kind.CLUSTER, help="cluster name, alias, or host:port of any member")
MAYBE_SERVER = Parameter(name="server", kind=Kind.SERVER, required=False, help="host:port of a server")
MAYBE_CLUSTER = Parameter(name="cluster", kind=Kind.CLUSTER, required=False, help="cluster name, alias, or any member")
MAYBE_TARGET = Parameter(name="target", kind=Kind.SERVER, required=False, help="the server to promote")
TARGET = Parameter(name="target", kind=Kind.SERVER, help="the server to promote")
PAGE = Parameter(name="page", kind=Kind.NUMBER, required=False, help="page, from 0; 20 entries each")
COMMENT = Parameter(name="comment", help="why, for the record")
REASON = Parameter(name="reason", help="why, for the record")
PEER = Parameter(name="addr", help="Raft address")
FORCE = Parameter(name="force", kind=Kind.FLAG, required=False, help="also where its record is needed")
CAREFUL = Parameter(name="careful", kind=Kind.FLAG, required=False, help="refuse where the primary answers")
ACCEPT_LOSS = Parameter(
    name="accept_loss",
    kind=Kind.FLAG,
    required=False,
    help="promote although acknowledged writes may be lost, and say so in the record",
)
ALIAS = Parameter(name="alias", required=False, help="exact cluster alias")


def _row(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return Operation(name=name, help=help_, compatible=paths, **more)


def _list(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return _row(name, help_, *paths, bare=True, **more)


def _here(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return _row(name, help_, *paths, **{"bare": True, "where": Where.HERE, **more})


def _act(name: str, help_: str, *paths: str, **more: Any) -> Operation:
    return _row(name, help_, *paths, writes=True, **more)


def _takeover_paths(word: str) -> tuple[str, ...]:
    target = "{targetHost}/{targetPort}"
    forms = ("{host}/{port}", "{hint}", "{host}/{port}/" + target, "{hint}/" + target)
    return tuple(f"{word}/{form}" for form in forms)


NODE_ROWS: tuple[Operation, ...] = (
    _here("health", "Is this node healthy, who leads", "health", "status", bare=False,
          native="GET /health"),
    _here("lb-check", "Constant answer: this process serves", "lb-check", "_ping"),
    _here("leader-check", "200 on the node that holds authority, 404 elsewhere", "leader-check",
          "leader-check/{status}",
          parameters=(Parameter(name="status", kind=Kind.NUMBER, required=False, help="instead of 404"),)),
    _list("routed-leader-check", "200 wherever a leader is known", "routed-leader-check"),
    _here("raft-health", "Is this node part of a cluster with a leader", "raft-health"),
    _here("raft-state", "Leader, Follower or Candidate", "raft-state"),
    _here("raft-leader", "Raft address of the leader", "raft-leader"),
    _here("raft-peers", "Raft addresses of all nodes", "raft-peers"),
    _here("raft-status", "This node's view of the Raft cluster", "raft-status", native="GET /raft"),
    _here("raft-overview", "Every node of the Raft cluster as it sees itself", native="GET /raft/status"),
    _here("raft-members", "Members of the Raft cluster, as this node has them", native="GET /raft/members"),
    _act("raft-add-peer", "Take a new node into the Raft cluster; it votes by itself when it has everything",
         "raft-add-peer/{addr}", bare=True, where=Where.HERE, parameters=(PEER,), native="POST /raft/members"),
    _act("raft-remove-peer", "Take a member out of the Raft cluster; a leader hands over first",
         "raft-remove-peer/{addr}", bare=True, where=Where.HERE, parameters=(PEER,),
         native="DELETE /raft/members/{addr}"),
    _act("raft-replace-peer", "Take a new node into the Raft cluster, and the old one out as soon as the new one votes",
         bare=True, where=Where.HERE, native="POST /raft/members/{addr}/replace",
         parameters=(PEER, Parameter(name="by", help="Raft address of the new node"))),
    _act("raft-transfer", "Hand leadership of the Raft cluster to another node", native="POST /raft/transfer",
         parameters=(Parameter(name="node", required=False, help="Raft address; by default whoever has most"),)),
    _act("raft-snapshot", "Save a snapshot on the node that is asked, and trim its journal", "raft-snapshot",
         bare=True, where=Where.HERE, native="POST /raft/snapshot"),
    _act("raft-yield", "Hand leadership of the Raft cluster to this node; only the leader takes it",
         "raft-yield/{node}", where=Where.HERE, parameters=(Parameter(name="node", help="Raft address"),)),
    _act("raft-yield-hint", "Hand leadership to a node whose address contains a text; only the leader takes it",
         "raft-yield-hint/{part}", where=Where.HERE, parameters=(Parameter(name="part", help="part of an address"),)),
    _act("raft-follower-health-report", "A peer's nodes report to their leader so; ours do over their connections",
         "raft-follower-health-report/{token}/{bind}/{advertise}", where=Where.HERE,
         parameters=(Parameter(name="token", help="token"), Parameter(name="bind", help="RaftBind"),
                     Parameter(name="advertise", help="RaftAdvertise"))),
    _here("headers", "The request's headers, as received", "headers"),
)  # fmt: skip

SERVER_TEXT = Parameter(name="server", required=False, help="host:port; is it this one")
CHECK_CLUSTER = Parameter(name="cluster", help="cluster id, exact alias, or host:port of a member")
OWN_ROWS: tuple[Operation, ...] = (
    _here("health-live", "200 as long as this process answers", root=("health/live",)),
    _here("health-ready", "200 where a leader is known and nothing is wrong with this node", root=("health/ready",)),
    _here("health-leader", "200 on the node that holds authority, else 503", root=("health/leader",)),
    _here("health-primary", "200 where the server is the primary of the cluster; without one, where there is a primary",
          root=("health/cluster/{cluster}/primary",), parameters=(CHECK_CLUSTER, SERVER_TEXT)),
    _here("health-replica", "200 where the server replicates with little lag; without one, where any does",
          root=("health/cluster/{cluster}/replica",),
          parameters=(CHECK_CLUSTER, SERVER_TEXT,
                      Parameter(name="lag", kind=Kind.NUMBER, required=False, help="seconds that are little enough"))),
    _here("events", "What happens, as it happens: server-sent events, resumed by Last-Event-ID", native="GET /events",
          parameters=(Parameter(name="cluster", required=False, help="only of this cluster: id, alias or member"),
                      Parameter(name="lastEventId", kind=Kind.NUMBER, required=False, help="as the header"))),
    _here("openapi", "This API as OpenAPI 3.1", native="GET /openapi.json"),
    _here("api-page", "This API as a page to read", native="GET /docs"),
    _act("access-token", "Make an access token for somebody (AuthenticationMethod token)", where=Where.HERE,
         secret=True, native="POST /access-tokens",
         parameters=(Parameter(name="owner", required=False, help="for the audit trail; you, if left out"),)),
    _act("use-access-token", "Take an access token into use, once, within its time", where=Where.HERE, admits=True,
         secret=True,
         root=("web/access-token",), native="POST /access-tokens/use",
         parameters=(Parameter(name="publicToken", help="what raftctl access-token printed"),)),
)  # fmt: skip

READ_ROWS: tuple[Operation, ...] = (
    _list("clusters", "Names of all clusters", "clusters", native="GET /cluster-names"),
    _list("clusters-info", "All clusters", "clusters-info", native="GET /clusters"),
    _list("cluster", "Servers of a cluster", "cluster/{hint}", "cluster/instance/{host}/{port}",
          parameters=(CLUSTER,), native="GET /clusters/{cluster}/servers"),
    _list("cluster-by-alias", "Servers of the cluster with exactly this alias", "cluster/alias/{alias}",
          parameters=(ALIAS,)),
    _list("cluster-info", "One cluster", "cluster-info/{hint}", parameters=(CLUSTER,),
          native="GET /clusters/{cluster}"),
    _list("cluster-info-by-alias", "The cluster with exactly this alias", "cluster-info/alias/{alias}",
          parameters=(ALIAS,)),
    _list("master", "The primary of a cluster", "master/{hint}", parameters=(CLUSTER,),
          native="GET /clusters/{cluster}/primary"),
    _list("masters", "The writable primary of each cluster", "masters", native="GET /primaries"),
    _list("instance", "One server", "instance/{host}/{port}", parameters=(SERVER,), native="GET /servers/{server}"),
    _list("instance-replicas", "Direct replicas of a server", "instance-replicas/{host}/{port}", parameters=(SERVER,),
          native="GET /servers/{server}/replicas"),
    _list("all-instances", "All servers", "all-instances", native="GET /servers"),
    _list("bulk-instances", "Addresses of all servers", "bulk-instances"),
    _list("search", "Servers whose address, alias or version contains a text", "search", "search/{s}",
          parameters=(Parameter(name="s", required=False, help="text to look for"),)),
    _row("topology", "A cluster as a text tree", "topology/{hint}", "topology/{host}/{port}", parameters=(CLUSTER,),
         native="GET /clusters/{cluster}/topology"),
    _row("topology-tabulated", "A cluster as a text table", "topology-tabulated/{hint}",
         "topology-tabulated/{host}/{port}", parameters=(CLUSTER,)),
    _row("replication-analysis", "What is wrong, server by server", "replication-analysis",
         "replication-analysis/{hint}", "replication-analysis/instance/{host}/{port}",
         parameters=(MAYBE_CLUSTER, MAYBE_SERVER), native="GET /problems"),
    _list("problems", "Servers out of reach, not replicating or lagging", "problems", "problems/{hint}",
          parameters=(MAYBE_CLUSTER,), native="GET /problem-servers"),
    _list("downtimed", "Servers in downtime", "downtimed", "downtimed/{hint}", parameters=(MAYBE_CLUSTER,),
          native="GET /downtimes"),
    _list("maintenance", "Maintenance locks (this product needs none)", "maintenance"),
    _list("audit", "The audit trail, newest first", "audit", "audit/{page}", "audit/instance/{host}/{port}",
          "audit/instance/{host}/{port}/{page}", parameters=(MAYBE_SERVER, PAGE), native="GET /audit"),
    _list("audit-recovery", "Recoveries, newest first", "audit-recovery", "audit-recovery/{page}",
          "audit-recovery/id/{id}", "audit-recovery/uid/{id}", "audit-recovery/cluster/{name}",
          "audit-recovery/cluster/{name}/{page}", "audit-recovery/alias/{alias}", "audit-recovery/alias/{alias}/{page}",
          parameters=(
              Parameter(name="id", required=False, help="number or UID"),
              Parameter(name="name", required=False, help="exact cluster name at the time"),
              ALIAS, PAGE,
              Parameter(name="unacknowledged", kind=Kind.FLAG, required=False, help="only those nobody acknowledged"),
              Parameter(name="every", kind=Kind.FLAG, required=False, help="returns of old primaries, too"),
          ), native="GET /recoveries"),
    _list("audit-recovery-steps", "The timeline of one recovery", "audit-recovery-steps/{uid}",
          parameters=(Parameter(name="uid", help="UID of a recovery"),), native="GET /recoveries/{uid}"),
    _list("audit-failure-detection", "Detected failures, newest first", "audit-failure-detection",
          "audit-failure-detection/{page}", "audit-failure-detection/id/{id}", "audit-failure-detection/alias/{alias}",
          "audit-failure-detection/alias/{alias}/{page}",
          parameters=(Parameter(name="id", required=False, help="number"), ALIAS, PAGE), native="GET /detections"),
    _list("active-cluster-recovery", "Running recoveries of a cluster", "active-cluster-recovery/{name}",
          parameters=(Parameter(name="name", help="exact cluster name"),)),
    _list("blocked-recoveries", "Recoveries that did not start, and why", "blocked-recoveries",
          "blocked-recoveries/cluster/{name}",
          parameters=(Parameter(name="name", required=False, help="exact cluster name"),),
          native="GET /blocked-recoveries"),
    _list("pauses", "Where writes to databases are paused, by whom and why", native="GET /pauses"),
    _row("check-global-recoveries", "Whether automatic recoveries are enabled", "check-global-recoveries"),
    _row("automated-recovery-filters", "Which clusters are recovered automatically", "automated-recovery-filters"),
)  # fmt: skip

WRITE_ROWS: tuple[Operation, ...] = (
    _act("discover", "Probe a server and watch it from now on", "discover/{host}/{port}", parameters=(SERVER,),
         native="POST /servers/{server}/discover"),
    _act("async-discover", "The same, without waiting for the probe", "async-discover/{host}/{port}",
         parameters=(SERVER,)),
    _act("refresh", "Probe a known server now", "refresh/{host}/{port}", parameters=(SERVER,),
         native="POST /servers/{server}/refresh"),
    _act("forget", "Stop watching a server", "forget/{host}/{port}", parameters=(SERVER, FORCE),
         native="DELETE /servers/{server}"),
    _act("forget-cluster", "Stop watching a whole cluster", "forget-cluster/{hint}", parameters=(CLUSTER, FORCE),
         native="DELETE /clusters/{cluster}"),
    _act("begin-downtime", "Take a server out of automatic recovery for a while",
         "begin-downtime/{host}/{port}/{owner}/{reason}", "begin-downtime/{host}/{port}/{owner}/{reason}/{duration}",
         parameters=(SERVER, Parameter(name="owner", help="who"), Parameter(name="reason", help="why"),
                     Parameter(name="duration", kind=Kind.DURATION, required=False, help="30s, 10m, 2h; default 10m")),
         native="POST /servers/{server}/downtime"),
    _act("end-downtime", "End a downtime", "end-downtime/{host}/{port}", parameters=(SERVER,),
         native="DELETE /servers/{server}/downtime"),
    _act("set-read-only", "Refuse writes on a server", "set-read-only/{host}/{port}", parameters=(SERVER,),
         native="POST /servers/{server}/set-read-only"),
    _act("set-writeable", "Accept writes on a server", "set-writeable/{host}/{port}", parameters=(SERVER,),
         native="POST /servers/{server}/set-writable"),
    _act("start-replica", "Start replication on a server", "start-slave/{host}/{port}", "start-replica/{host}/{port}",
         parameters=(SERVER,), native="POST /servers/{server}/start-replica"),
    _act("stop-replica", "Stop replication on a server", "stop-slave/{host}/{port}", "stop-replica/{host}/{port}",
         parameters=(SERVER,), native="POST /servers/{server}/stop-replica"),
    _act("recover", "Recover a server that analysis reports as failed", "recover/{host}/{port}",
         "recover/{host}/{port}/{targetHost}/{targetPort}", takes_long=True,
         parameters=(SERVER, MAYBE_TARGET,
                     Parameter(name="skipProcesses", kind=Kind.FLAG, required=False, help="run no hooks")),
         native="POST /servers/{server}/recover"),
    _act("recover-lite", "The same without hooks", "recover-lite/{host}/{port}",
         "recover-lite/{host}/{port}/{targetHost}/{targetPort}", takes_long=True, parameters=(SERVER, MAYBE_TARGET)),
    _act("force-master-failover", "Treat the primary as dead and fail over now", "force-master-failover/{host}/{port}",
         "force-master-failover/{hint}", takes_long=True, parameters=(CLUSTER, CAREFUL, ACCEPT_LOSS),
         native="POST /clusters/{cluster}/failover"),
    _act("force-master-takeover", "Treat the primary as dead and promote this replica",
         "force-master-takeover/{hint}/{targetHost}/{targetPort}",
         "force-master-takeover/{host}/{port}/{targetHost}/{targetPort}", takes_long=True,
         parameters=(CLUSTER, TARGET, CAREFUL, ACCEPT_LOSS)),
    _act("graceful-master-takeover", "Hand the primary role to a replica; the old primary is left stopped",
         *_takeover_paths("graceful-master-takeover"), takes_long=True, parameters=(CLUSTER, MAYBE_TARGET)),
    _act("graceful-master-takeover-auto", "Hand the primary role to a replica, the best if none is named",
         *_takeover_paths("graceful-master-takeover-auto"), takes_long=True, parameters=(CLUSTER, MAYBE_TARGET),
         native="POST /clusters/{cluster}/takeover"),
    _act("ack-recovery", "Acknowledge one recovery", "ack-recovery/{id}", "ack-recovery/uid/{id}",
         parameters=(Parameter(name="id", help="number or UID"), COMMENT), native="POST /recoveries/{id}/acknowledge"),
    _act("ack-recovery-cluster", "Acknowledge the recoveries of a cluster", "ack-recovery/cluster/{hint}",
         "ack-recovery/cluster/alias/{hint}", parameters=(CLUSTER, COMMENT),
         native="POST /clusters/{cluster}/acknowledge"),
    _act("ack-recovery-instance", "Acknowledge the recoveries of a server", "ack-recovery/instance/{host}/{port}",
         parameters=(SERVER, COMMENT), native="POST /servers/{server}/acknowledge"),
    _act("ack-all-recoveries", "Acknowledge all recoveries", "ack-all-recoveries", parameters=(COMMENT,),
         native="POST /recoveries/acknowledge"),
    _act("disable-global-recoveries", "Stop automatic recoveries; manual ones still run", "disable-global-recoveries",
         native="POST /recoveries/disable"),
    _act("enable-global-recoveries", "Allow automatic recoveries", "enable-global-recoveries",
         native="POST /recoveries/enable"),
    _act("pause-writes", "Let nobody write to the servers of a cluster, or of all; a running recovery ends first",
         parameters=(MAYBE_CLUSTER, REASON), native="POST /pauses"),
    _act("resume-writes", "End a pause of a cluster, or the one of all", parameters=(MAYBE_CLUSTER,),
         native="DELETE /pauses"),
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (*NODE_ROWS, *OWN_ROWS, *READ_ROWS, *WRITE_ROWS)
OPERATION_BY_NAME = {operation.name: operation for operation in OPERATIONS}

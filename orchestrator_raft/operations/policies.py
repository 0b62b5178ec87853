"""Rows about what people set: maintenance, promotion rules, tags, pools, aliases of clusters, virtual host names."""

from __future__ import annotations

from orchestrator_raft.operations.model import (
    CLUSTER,
    SERVER,
    Kind,
    Operation,
    Parameter,
    act,
    listing,
    row,
)

OWNER, WHY = Parameter(name="owner", help="who"), Parameter(name="reason", help="why")
TAG = Parameter(name="tag", required=False, help="name, or name=value")
NAME = Parameter(name="name", required=False, help="name of a tag")
VALUE = Parameter(name="value", required=False, help="value of the tag")
POOL = Parameter(name="pool", help="name of a pool")
MAYBE_POOL = Parameter(name="pool", required=False, help="name of a pool; all, if left out")


def _lasting(help_: str) -> Parameter:
    return Parameter(name="duration", kind=Kind.DURATION, required=False, help=help_)


POLICY_ROWS: tuple[Operation, ...] = (
    listing("downtime-of", "The downtime of a server; its ETag goes into If-Match", parameters=(SERVER,),
        native="GET /servers/{server}/downtime"),
    listing("maintenance-of", "The maintenance of a server, likewise", parameters=(SERVER,),
        native="GET /servers/{server}/maintenance"),
    listing("promotion-rule-of", "The promotion rule that people gave to a server, likewise", parameters=(SERVER,),
        native="GET /servers/{server}/promotion-rule"),
    listing("virtual-name-of", "The virtual host name of a server, likewise", parameters=(SERVER,),
        native="GET /servers/{server}/virtual-name"),
    listing("pool", "One pool, likewise", parameters=(POOL,), native="GET /pools/{pool}"),
    listing("alias-of", "The alias that people gave to a cluster, likewise", parameters=(CLUSTER,),
        native="GET /clusters/{cluster}/alias"),
    act("begin-maintenance", "Keep everybody else, and everything automatic, from changing a server for a while",
        "begin-maintenance/{host}/{port}/{owner}/{reason}", native="POST /servers/{server}/maintenance",
        parameters=(SERVER, OWNER, WHY, _lasting("30s, 10m, 2h; default 10m"))),
    act("end-maintenance", "End the maintenance of a server", "end-maintenance/{host}/{port}", parameters=(SERVER,),
        native="DELETE /servers/{server}/maintenance"),
    act("end-maintenance-number", "End a maintenance by its number", "end-maintenance/{number}",
        parameters=(Parameter(name="number", kind=Kind.NUMBER, help="as listed"),)),
    row("in-maintenance", "Whether a server is in maintenance", "in-maintenance/{host}/{port}", parameters=(SERVER,)),
    listing("maintenance", "Servers in maintenance", "maintenance", native="GET /maintenances"),
    act("register-candidate", "Give a server a promotion rule, which goes before the one that is detected",
        "register-candidate/{host}/{port}/{rule}", native="POST /servers/{server}/promotion-rule",
        parameters=(SERVER, Parameter(name="rule", help="must, prefer, neutral, prefer_not or must_not"),
                     _lasting("how long; default CandidateInstanceExpireMinutes"))),
    act("deregister-candidate", "Have the detected promotion rule count again", parameters=(SERVER,),
        native="DELETE /servers/{server}/promotion-rule"),
    listing("bulk-promotion-rules", "Promotion rules that people gave to servers", "bulk-promotion-rules",
        native="GET /promotion-rules"),
    act("tag", "Put a tag on a server", "tag/{host}/{port}", "tag/{host}/{port}/{name}/{value}",
        parameters=(SERVER, TAG, NAME, VALUE), native="POST /servers/{server}/tags"),
    act("untag", "Take a tag off a server", "untag/{host}/{port}", "untag/{host}/{port}/{name}",
        parameters=(SERVER, TAG, NAME), native="DELETE /servers/{server}/tags/{name}"),
    act("untag-all", "Take a tag off all servers, or off those where it has this value", "untag-all",
        "untag-all/{name}/{value}", parameters=(TAG, NAME, VALUE), native="DELETE /tags/{name}"),
    listing("tags", "Tags of a server", "tags/{host}/{port}", parameters=(SERVER,),
        native="GET /servers/{server}/tags"),
    listing("tag-value", "Value of one tag of a server", "tag-value/{host}/{port}", "tag-value/{host}/{port}/{name}",
        parameters=(SERVER, TAG, NAME)),
    listing("tagged", "Servers by their tags: name, name=value, ~name (without it); several with commas between",
        "tagged", native="GET /tagged",
        parameters=(Parameter(name="tag", help="what to look for"),)),
    act("submit-pool-instances", "Say which servers make up a pool, for a while", "submit-pool-instances/{pool}",
        parameters=(POOL, Parameter(name="instances", required=False, help="host:port, with commas between"),
                     _lasting("how long; default InstancePoolExpiryMinutes")),
        native="POST /pools/{pool}"),
    act("drop-pool", "There is no such pool any more", parameters=(POOL,), native="DELETE /pools/{pool}"),
    listing("pools", "All pools", native="GET /pools"),
    listing("cluster-pool-instances", "Servers of a cluster by pool", "cluster-pool-instances/{clusterName}",
        "cluster-pool-instances/{clusterName}/{pool}",
        parameters=(Parameter(name="clusterName", help="exact cluster name"), MAYBE_POOL)),
    row("heuristic-cluster-pool-instances", "Healthy servers of a cluster that are in a pool",
        "heuristic-cluster-pool-instances/{hint}", "heuristic-cluster-pool-instances/{hint}/{pool}",
        parameters=(CLUSTER, MAYBE_POOL)),
    row("heuristic-cluster-pool-lag", "The greatest lag of healthy servers of a cluster that are in a pool, in seconds",
        "heuristic-cluster-pool-lag/{hint}", "heuristic-cluster-pool-lag/{hint}/{pool}",
        parameters=(CLUSTER, MAYBE_POOL)),
    listing("cluster-osc-replicas", "Replicas whose lag tells how fast a schema change may go",
        "cluster-osc-slaves/{hint}", "cluster-osc-replicas/{hint}", parameters=(CLUSTER,),
        native="GET /clusters/{cluster}/control-replicas"),
    act("set-cluster-alias", "Name a cluster; goes before the alias that its primary suggests",
        "set-cluster-alias/{hint}", native="POST /clusters/{cluster}/alias",
        parameters=(CLUSTER, Parameter(name="alias", help="the name"))),
    act("drop-cluster-alias", "Leave a cluster's alias to its primary again", parameters=(CLUSTER,),
        native="DELETE /clusters/{cluster}/alias"),
    act("register-hostname-unresolve", "Note a virtual host name of a server",
        "register-hostname-unresolve/{host}/{port}/{virtualname}", native="POST /servers/{server}/virtual-name",
        parameters=(SERVER, Parameter(name="virtualname", help="host name without port"))),
    act("deregister-hostname-unresolve", "Take a virtual host name back", "deregister-hostname-unresolve/{host}/{port}",
        parameters=(SERVER,), native="DELETE /servers/{server}/virtual-name"),
)  # fmt: skip

"""Operations by which people set policies and labels: each proposes one command, and the state decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.instance import InstanceKey, PromotionRule
from orchestrator_raft.core.replicated.labels import Tag
from orchestrator_raft.core.replicated.policy_commands import (
    BeginMaintenance,
    DropPool,
    DropRule,
    EndMaintenance,
    RegisterRule,
    SetClusterAlias,
    SetVirtualName,
    SubmitPool,
    TagServer,
    UntagServers,
)
from orchestrator_raft.core.topology import Server
from orchestrator_raft.engine.service.calls import Call, Reply, parse_server
from orchestrator_raft.engine.service.names import find_server, require_cluster, require_server
from orchestrator_raft.engine.service.servers import propose

if TYPE_CHECKING:
    from orchestrator_raft.engine.service.dispatch import Desk

MAINTENANCE_DEFAULT_S = 600


def _server(call: Call, desk: Desk) -> Server:
    return require_server(desk.leader().viewer.moment().topology, call.arguments["server"])


def _ends_ms(call: Call, desk: Desk, default_s: int) -> int:
    return desk.moment_ms() + 1000 * call.number("duration", default_s)


async def begin_maintenance(call: Call, desk: Desk) -> Reply:
    key = _server(call, desk).key
    done = await propose(
        desk.leader(), call, BeginMaintenance,
        key=key, owner=call.text("owner"), reason=call.text("reason"),
        ends_ms=_ends_ms(call, desk, MAINTENANCE_DEFAULT_S),
    )  # fmt: skip
    return Reply(message=f"Maintenance begun: {key}", value=key, version=int(done.value))


async def end_maintenance(call: Call, desk: Desk) -> Reply:
    key = _server(call, desk).key
    await propose(desk.leader(), call, EndMaintenance, key=key)
    return Reply(message=f"Maintenance ended: {key}", value=key, version=0)


async def end_maintenance_number(call: Call, desk: Desk) -> Reply:
    number = call.number("number")
    await propose(desk.leader(), call, EndMaintenance, number=number)
    return Reply(message=f"Maintenance ended: {number}", value=number)


async def register_rule(call: Call, desk: Desk) -> Reply:
    key, text = _server(call, desk).key, call.text("rule")
    rule = next((each for each in PromotionRule if each.value == text), None)
    if rule is None:
        words = ", ".join(each.value for each in PromotionRule)
        raise InvalidInput(f"'{text}' is no promotion rule (rule): write one of {words}")
    ends_ms = _ends_ms(call, desk, desk.settings.rule_valid_s)
    done = await propose(desk.leader(), call, RegisterRule, key=key, rule=rule, ends_ms=ends_ms)
    return Reply(message="Registered candidate", value=key, version=int(done.value))


async def drop_rule(call: Call, desk: Desk) -> Reply:
    key = _server(call, desk).key
    await propose(desk.leader(), call, DropRule, key=key)
    return Reply(message=f"The promotion rule of {key} is the detected one again", value=key, version=0)


def tag_of(call: Call) -> tuple[str, str | None]:
    """Name and value of the tag that is meant: ``tag=name=value``, or the two apart. Raises InvalidInput."""
    name, equals, value = call.text("tag").partition("=")
    if "name" in call.arguments:
        name, equals, value = call.text("name"), "=" if "value" in call.arguments else "", call.text("value")
    if not name:
        raise InvalidInput("which tag? (tag: name, or name=value)")
    return name, value if equals else None


async def tag(call: Call, desk: Desk) -> Reply:
    key = _server(call, desk).key
    name, value = tag_of(call)
    await propose(desk.leader(), call, TagServer, key=key, name=name, value=value or "")
    return Reply(message=f"{key} tagged with {Tag(name=name, value=value or '')}", value=key)


async def untag(call: Call, desk: Desk) -> Reply:
    key = _server(call, desk).key if "server" in call.arguments else None
    name, value = tag_of(call)
    wanted = value if key is None else None
    result = await propose(desk.leader(), call, UntagServers, key=key, name=name, value=wanted)
    untagged = [parse_server(line) for line in result.value.split("\n") if line]
    return Reply(message=f"{name} removed from {len(untagged)} instances", value=untagged)


async def submit_pool(call: Call, desk: Desk) -> Reply:
    pool = call.text("pool")
    topology = desk.leader().viewer.moment().topology
    members: list[InstanceKey] = []
    for text in filter(None, (each.strip() for each in call.text("instances").split(","))):
        asked = parse_server(text if ":" in text else f"{text}:3306")
        known = find_server(topology, asked, guess=False)
        members.append(known.key if known is not None else asked)
    ends_ms = _ends_ms(call, desk, desk.settings.pool_valid_s)
    done = await propose(desk.leader(), call, SubmitPool, name=pool, members=tuple(members), ends_ms=ends_ms)
    return Reply(message=f"Applied {pool} pool instances", value=pool, version=int(done.value))


async def drop_pool(call: Call, desk: Desk) -> Reply:
    pool = call.text("pool")
    await propose(desk.leader(), call, DropPool, name=pool)
    return Reply(message=f"There is no pool {pool} any more", value=pool, version=0)


async def set_cluster_alias(call: Call, desk: Desk) -> Reply:
    cluster = require_cluster(desk.leader().viewer.moment().topology, call.text("cluster"))
    alias = call.text("alias")
    done = await propose(desk.leader(), call, SetClusterAlias, cluster_id=cluster.id, alias=alias)
    text = f"now has alias '{alias}'" if alias else "has the alias that its primary suggests"
    return Reply(message=f"Cluster {cluster.name} {text}", value=None, version=int(done.value))


async def set_virtual_name(call: Call, desk: Desk) -> Reply:
    key, hostname = _server(call, desk).key, call.text("virtualname")
    if hostname:
        parse_server(f"{hostname}:{key.port}")
    done = await propose(desk.leader(), call, SetVirtualName, key=key, hostname=hostname)
    word = "register" if hostname else "deregister"
    return Reply(message=f"Hostname {word} unresolve completed", value=key, version=int(done.value))


HANDLERS: dict[str, Callable[[Call, Desk], Awaitable[Reply]]] = {
    "begin-maintenance": begin_maintenance,
    "end-maintenance": end_maintenance,
    "end-maintenance-number": end_maintenance_number,
    "register-candidate": register_rule,
    "deregister-candidate": drop_rule,
    "tag": tag,
    "untag": untag,
    "untag-all": untag,
    "submit-pool-instances": submit_pool,
    "drop-pool": drop_pool,
    "set-cluster-alias": set_cluster_alias,
    "drop-cluster-alias": set_cluster_alias,
    "register-hostname-unresolve": set_virtual_name,
    "deregister-hostname-unresolve": set_virtual_name,
}

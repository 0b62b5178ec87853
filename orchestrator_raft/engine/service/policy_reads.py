"""Operations that read what people set: maintenance, promotion rules, tags, pools, and servers chosen by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.labels import Tag
from orchestrator_raft.core.topology import Server
from orchestrator_raft.core.topology.control import control_replicas
from orchestrator_raft.engine.service.calls import Call, Reply
from orchestrator_raft.engine.service.names import require_cluster, require_server
from orchestrator_raft.engine.service.policies import tag_of
from orchestrator_raft.engine.view import Moment

Tags = tuple[Tag, ...]


def maintenance(call: Call, moment: Moment) -> Reply:
    marks = [mark for mark in moment.state.maintenances.values() if mark.ends_ms > moment.now_ms]
    return Reply(value=sorted(marks, key=lambda mark: mark.number), moment=moment)


def in_maintenance(call: Call, moment: Moment) -> Reply:
    server = require_server(moment.topology, call.arguments["server"], guess=True)
    holds = server.maintenance is not None
    return Reply(message=str(holds).lower(), value=str(server.key) if holds else "", moment=moment)


def promotion_rules(call: Call, moment: Moment) -> Reply:
    marks = (mark for mark in moment.state.rules.values() if mark.ends_ms > moment.now_ms)
    return Reply(value=sorted(marks, key=lambda mark: mark.key), moment=moment)


def tags(call: Call, moment: Moment) -> Reply:
    server = require_server(moment.topology, call.arguments["server"], guess=True)
    return Reply(value=[str(tag) for tag in moment.state.tags.get(server.key, ())], moment=moment)


def tag_value(call: Call, moment: Moment) -> Reply:
    server = require_server(moment.topology, call.arguments["server"], guess=True)
    name, _ = tag_of(call)
    found = next((tag for tag in moment.state.tags.get(server.key, ()) if tag.name == name), None)
    if found is None:
        raise InvalidInput(f"tag {name} not found for {server.key}")
    return Reply(value=found.value, moment=moment)


def tagged(call: Call, moment: Moment) -> Reply:
    wanted = [wish(text.strip()) for text in call.text("tag").split(",") if text.strip()]
    if not wanted:
        raise InvalidInput("which tag? (tag: name, name=value, ~name; several with commas between)")
    found = [
        key for key in sorted(moment.topology.servers) if all(fits(moment.state.tags.get(key, ())) for fits in wanted)
    ]
    return Reply(value=found, moment=moment)


def wish(text: str) -> Callable[[Tags], bool]:
    """What one part of a search asks of a server's tags. Raises InvalidInput."""
    is_negated = text[0] in "~!"
    name, equals, value = text.removeprefix(text[0] if is_negated else "").partition("=")
    if not name:
        raise InvalidInput(f"'{text}' names no tag (tag)")

    def fits(has: Tags) -> bool:
        return any(tag.name == name and (not equals or tag.value == value) for tag in has) is not is_negated

    return fits


def pools(call: Call, moment: Moment) -> Reply:
    living = (pool for pool in moment.state.pools.values() if pool.ends_ms > moment.now_ms)
    return Reply(value=sorted(living, key=lambda pool: pool.name), moment=moment)


def _members(call: Call, moment: Moment, cluster_id: str) -> dict[str, list[InstanceKey]]:
    """Servers of the cluster by pool: by the one that was asked for, or by all."""
    wanted, servers = call.text("pool"), moment.topology.servers
    found = {
        name: [key for key in pool.members if key in servers and servers[key].cluster_id == cluster_id]
        for name, pool in sorted(moment.state.pools.items())
        if pool.ends_ms > moment.now_ms and wanted in ("", name)
    }
    return {name: keys for name, keys in found.items() if keys}


def cluster_pool_instances(call: Call, moment: Moment) -> Reply:
    name = call.text("clusterName")
    cluster = next((each for each in moment.topology.clusters.values() if each.name == name), None)
    return Reply(value=_members(call, moment, cluster.id) if cluster is not None else {}, moment=moment)


def _healthy(call: Call, moment: Moment) -> list[Server]:
    cluster = require_cluster(moment.topology, call.text("cluster"), guess=True)
    keys = {key for members in _members(call, moment, cluster.id).values() for key in members}
    servers = (moment.topology.servers[key] for key in sorted(keys))
    return [each for each in servers if each.fresh is not None and not each.fresh.is_binlog_server]


def heuristic_pool_instances(call: Call, moment: Moment) -> Reply:
    return Reply(message=f"Heuristic pool instances of {call.text('cluster')}", value=_healthy(call, moment),
                 moment=moment)  # fmt: skip


def heuristic_pool_lag(call: Call, moment: Moment) -> Reply:
    return Reply(message=f"Heuristic pool lag of {call.text('cluster')}", value=greatest_lag_s(_healthy(call, moment)),
                 moment=moment)  # fmt: skip


def greatest_lag_s(servers: Iterable[Server]) -> int:
    """In whole seconds; what is unknown counts as none."""
    return int(max((each.fresh.lag_s or 0.0 for each in servers if each.fresh is not None), default=0.0))


def control(call: Call, moment: Moment) -> Reply:
    cluster = require_cluster(moment.topology, call.text("cluster"), guess=True)
    chosen = control_replicas(moment.topology, cluster.id)
    return Reply(value=[each for each in chosen if not moment.policy.control_ignore.match(each.key)], moment=moment)


def _mark(value: Any, moment: Moment) -> Reply:
    """A policy, or None where it is not set; and its version."""
    return Reply(value=value, version=value.version if value is not None else 0, moment=moment)


def one_downtime(call: Call, moment: Moment) -> Reply:
    return _mark(moment.state.downtimes.get(_key(call, moment)), moment)


def one_maintenance(call: Call, moment: Moment) -> Reply:
    return _mark(moment.state.maintenances.get(_key(call, moment)), moment)


def one_rule(call: Call, moment: Moment) -> Reply:
    return _mark(moment.state.rules.get(_key(call, moment)), moment)


def one_virtual_name(call: Call, moment: Moment) -> Reply:
    return _mark(moment.state.virtual_names.get(_key(call, moment)), moment)


def one_pool(call: Call, moment: Moment) -> Reply:
    return _mark(moment.state.pools.get(call.text("pool")), moment)


def one_alias(call: Call, moment: Moment) -> Reply:
    record = require_cluster(moment.topology, call.text("cluster"), guess=True).record
    return Reply(value=record.alias_by_hand or None, version=record.alias_version, moment=moment)


def _key(call: Call, moment: Moment) -> InstanceKey:
    return require_server(moment.topology, call.arguments["server"], guess=True).key


READS: dict[str, Callable[[Call, Moment], Reply]] = {
    "maintenance": maintenance,
    "in-maintenance": in_maintenance,
    "bulk-promotion-rules": promotion_rules,
    "tags": tags,
    "tag-value": tag_value,
    "tagged": tagged,
    "pools": pools,
    "cluster-pool-instances": cluster_pool_instances,
    "heuristic-cluster-pool-instances": heuristic_pool_instances,
    "heuristic-cluster-pool-lag": heuristic_pool_lag,
    "cluster-osc-replicas": control,
    "downtime-of": one_downtime,
    "maintenance-of": one_maintenance,
    "promotion-rule-of": one_rule,
    "virtual-name-of": one_virtual_name,
    "pool": one_pool,
    "alias-of": one_alias,
}

"""Handlers of the commands by which people set policies and labels.

Every mark belongs to a known server or cluster, says who set it, and is in the audit trail; every table and text has a
limit. Marks follow a server that gets another name (``moved``), and go when it is forgotten (``without``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated.audit import audited
from orchestrator_raft.core.replicated.commands import PolicyCommand
from orchestrator_raft.core.replicated.labels import Pool, Tag, VirtualName
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
from orchestrator_raft.core.replicated.state import CHANGED, Result, State
from orchestrator_raft.core.topology import Maintenance, RegisteredRule

Applied = tuple[State, Result]
V = TypeVar("V")
TEXT_MAX = 500
MARK_MAX_MS = 10 * 366 * 86_400_000
"""Characters of an owner, a reason, a name or a value."""
TAGS_MAX = 100
"""Tags of one server."""
POOLS_MAX = 500
POOL_MEMBERS_MAX = 2000


def _known(state: State, key: InstanceKey) -> str:
    return "" if key in state.servers else f"{key} is not known: discover it first"


def bad_end(state: State, ends_ms: int, what: str) -> str:
    """Why a mark must not end then: a mark without an end is forgotten, and a date has to be one."""
    if ends_ms <= state.time_ms:
        return f"{what} has to end in the future"
    return f"{what} has to end within ten years" if ends_ms > state.time_ms + MARK_MAX_MS else ""


def too_long(**texts: str) -> str:
    """Which text is longer than it may be."""
    name = next((name for name, text in texts.items() if len(text) > TEXT_MAX), "")
    return f"'{name}' is longer than {TEXT_MAX} characters" if name else ""


def _refused(state: State, *reasons: str) -> Applied | None:
    reason = next(filter(None, reasons), "")
    return (state, Result(False, reason)) if reason else None


def changed(command: PolicyCommand, mark: Any) -> Result | None:
    """The refusal for somebody who looked at another version of this mark."""
    version = mark.version if mark is not None else 0
    if command.if_version in (None, version):
        return None
    what = f"is of version {version}" if version else "is not set"
    return Result(False, f"this has been changed meanwhile: it {what} now; look at it again", value=CHANGED)


def _without(marks: Mapping[InstanceKey, V], key: InstanceKey) -> dict[InstanceKey, V]:
    return {each: mark for each, mark in marks.items() if each != key}


def begin_maintenance(state: State, command: BeginMaintenance) -> Applied:
    mark = state.maintenances.get(command.key)
    stale = changed(command, mark)
    if stale is not None:
        return state, stale
    taken = ""
    if mark is not None and mark.ends_ms > state.time_ms:
        taken = f"{command.key} is in maintenance already, by {mark.owner}: {mark.reason}"
    past = bad_end(state, command.ends_ms, "maintenance")
    long = too_long(owner=command.owner, reason=command.reason)
    refusal = _refused(state, _known(state, command.key), taken, past, long)
    if refusal is not None:
        return refusal
    number = state.maintenance_number + 1
    mark = Maintenance(
        number=number, key=command.key, owner=command.owner, reason=command.reason, begun_ms=state.time_ms,
        ends_ms=command.ends_ms, version=state.policy_number + 1,
    )  # fmt: skip
    marks = {**state.maintenances, command.key: mark}
    begun = replace(state, maintenances=marks, maintenance_number=number, policy_number=mark.version)
    text = f"maintenanceToken: {number}, owner: {command.owner}, reason: {command.reason}"
    return audited(begun, command, "begin-maintenance", text, command.key), Result(True, value=str(mark.version))


def end_maintenance(state: State, command: EndMaintenance) -> Applied:
    marks = state.maintenances.values()
    mark = next((each for each in marks if command.key == each.key or command.number == each.number), None)
    if mark is None:
        name = command.key or f"no server of number {command.number}"
        return state, Result(False, f"{name} is in maintenance" if command.key is None else f"{name} is in none")
    stale = changed(command, mark)
    if stale is not None:
        return state, stale
    if command.expired and mark.ends_ms > state.time_ms:
        return state, Result(False, f"the maintenance of {mark.key} has been extended")
    ended = replace(state, maintenances=_without(state.maintenances, mark.key))
    text = f"maintenanceToken: {mark.number}" + (", its time has come" if command.expired else "")
    return audited(ended, command, "end-maintenance", text, mark.key), Result(True, value=str(mark.key))


def register_rule(state: State, command: RegisterRule) -> Applied:
    past = bad_end(state, command.ends_ms, "a promotion rule")
    refusal = _refused(state, _known(state, command.key), past)
    if refusal is not None:
        return refusal
    before = state.rules.get(command.key)
    stale = changed(command, before)
    if stale is not None:
        return state, stale
    mark = RegisteredRule(
        key=command.key, rule=command.rule, by=command.by, set_ms=state.time_ms, ends_ms=command.ends_ms,
        version=state.policy_number + 1,
    )  # fmt: skip
    registered = replace(state, rules={**state.rules, command.key: mark}, policy_number=mark.version)
    result = Result(True, value=str(mark.version))
    if before is not None and before.rule is command.rule:  # said again by a timer, every few minutes: no news
        return registered, result
    return audited(registered, command, "register-candidate", command.rule.value, command.key), result


def drop_rule(state: State, command: DropRule) -> Applied:
    mark = state.rules.get(command.key)
    if mark is None:
        return state, Result(False, f"nobody has given {command.key} a promotion rule")
    stale = changed(command, mark)
    if stale is not None:
        return state, stale
    if command.expired and mark.ends_ms > state.time_ms:
        return state, Result(False, f"the promotion rule of {command.key} has been renewed")
    dropped = replace(state, rules=_without(state.rules, command.key))
    text = f"{mark.rule.value}: " + ("its time has come" if command.expired else "taken back")
    return audited(dropped, command, "deregister-candidate", text, command.key), Result(True)


def tag_server(state: State, command: TagServer) -> Applied:
    kept = tuple(tag for tag in state.tags.get(command.key, ()) if tag.name != command.name)
    full = f"{command.key} has {TAGS_MAX} tags already" if len(kept) >= TAGS_MAX else ""
    nameless = "" if command.name else "a tag needs a name"
    long = too_long(name=command.name, value=command.value)
    refusal = _refused(state, _known(state, command.key), nameless, full, long)
    if refusal is not None:
        return refusal
    tag = Tag(name=command.name, value=command.value, by=command.by, set_ms=state.time_ms)
    tags = tuple(sorted((*kept, tag), key=lambda each: each.name))
    tagged = replace(state, tags={**state.tags, command.key: tags})
    return audited(tagged, command, "tag", str(tag), command.key), Result(True)


def untag_servers(state: State, command: UntagServers) -> Applied:
    """Refused only where nobody knows the server; no tag to take off is no error. The value names the servers."""
    if command.key is not None and command.key not in state.servers:
        return state, Result(False, _known(state, command.key))

    def goes(tag: Tag) -> bool:
        return tag.name == command.name and command.value in (None, tag.value)

    touched = sorted(
        key for key, tags in state.tags.items() if command.key in (None, key) and any(goes(tag) for tag in tags)
    )
    left = {key: tuple(tag for tag in state.tags[key] if not goes(tag)) for key in touched}
    tags = {key: left.get(key, each) for key, each in state.tags.items()}
    after = replace(state, tags={key: each for key, each in tags.items() if each})
    text = command.name if command.value is None else f"{command.name}={command.value}"
    for key in touched:
        after = audited(after, command, "delete-tag", text, key)
    return after, Result(True, value="\n".join(str(key) for key in touched))


def submit_pool(state: State, command: SubmitPool) -> Applied:
    past = bad_end(state, command.ends_ms, "a pool")
    nameless = "" if command.name else "a pool needs a name"
    many = f"a pool has at most {POOL_MEMBERS_MAX} servers" if len(command.members) > POOL_MEMBERS_MAX else ""
    crowded = len(state.pools) >= POOLS_MAX and command.name not in state.pools
    full = f"there are {POOLS_MAX} pools already" if crowded else ""
    refusal = _refused(state, past, nameless, many, full, too_long(pool=command.name))
    if refusal is not None:
        return refusal
    before = state.pools.get(command.name)
    stale = changed(command, before)
    if stale is not None:
        return state, stale
    members = tuple(sorted(set(command.members)))
    pool = Pool(
        name=command.name, members=members, by=command.by, set_ms=state.time_ms, ends_ms=command.ends_ms,
        version=state.policy_number + 1,
    )  # fmt: skip
    after = replace(state, pools={**state.pools, command.name: pool}, policy_number=pool.version)
    result = Result(True, value=str(pool.version))
    if before is not None and before.members == members:
        return after, result
    text = f"{command.name}: {', '.join(str(key) for key in members)}"[:TEXT_MAX]
    return audited(after, command, "submit-pool-instances", text), result


def drop_pool(state: State, command: DropPool) -> Applied:
    pool = state.pools.get(command.name)
    if pool is None:
        return state, Result(False, f"there is no pool '{command.name}'")
    stale = changed(command, pool)
    if stale is not None:
        return state, stale
    if command.expired and pool.ends_ms > state.time_ms:
        return state, Result(False, f"the pool '{command.name}' has been submitted again")
    after = replace(state, pools={name: each for name, each in state.pools.items() if name != command.name})
    text = f"{command.name}: " + ("its time has come" if command.expired else "taken back")
    return audited(after, command, "drop-pool", text), Result(True)


def set_cluster_alias(state: State, command: SetClusterAlias) -> Applied:
    cluster = state.clusters.get(command.cluster_id)
    if cluster is None:
        return state, Result(False, f"there is no cluster {command.cluster_id}")
    if command.if_version not in (None, cluster.alias_version):
        text = f"cluster {cluster.name} has another alias meanwhile: '{cluster.alias}'; look at it again"
        return state, Result(False, text, value=CHANGED)
    others = (each for each in state.clusters.values() if each.id != cluster.id)
    owner = next((each for each in others if command.alias and command.alias in (each.alias, each.name, each.id)), None)
    taken = f"'{command.alias}' names the cluster {owner.name} already" if owner is not None else ""
    refusal = _refused(state, taken, too_long(alias=command.alias))
    if refusal is not None:
        return refusal
    record = state.servers.get(cluster.primary) if cluster.primary is not None else None
    suggested = record.facts.cluster_alias if record is not None and record.facts is not None else ""
    version = state.policy_number + 1
    named = replace(
        cluster, alias=command.alias or suggested, alias_by_hand=command.alias,
        alias_version=version if command.alias else 0,
    )  # fmt: skip
    after = replace(state, clusters={**state.clusters, cluster.id: named}, policy_number=version)
    text = f"cluster {cluster.name}: '{command.alias}'" if command.alias else f"cluster {cluster.name}: taken back"
    return audited(after, command, "set-cluster-alias", text), Result(True, value=str(named.alias_version))


def set_virtual_name(state: State, command: SetVirtualName) -> Applied:
    mark = state.virtual_names.get(command.key)
    stale = changed(command, mark)
    if stale is not None:
        return state, stale
    address = InstanceKey(command.hostname, command.key.port)
    taken = f"{address} is a server of its own" if command.hostname and address in state.servers else ""
    nothing = "" if command.hostname or mark else f"{command.key} has no virtual name"
    refusal = _refused(state, _known(state, command.key), taken, nothing, too_long(virtualname=command.hostname))
    if refusal is not None:
        return refusal
    names = _without(state.virtual_names, command.key)
    if command.hostname:
        names[command.key] = VirtualName(
            key=command.key, hostname=command.hostname, by=command.by, set_ms=state.time_ms,
            version=state.policy_number + 1,
        )  # fmt: skip
    word = "register" if command.hostname else "deregister"
    after = replace(state, virtual_names=names, policy_number=state.policy_number + 1)
    version = after.policy_number if command.hostname else 0
    told = audited(after, command, f"{word}-hostname-unresolve", command.hostname, command.key)
    return told, Result(True, value=str(version))


def _renamed(marks: Mapping[InstanceKey, V], old: InstanceKey, new: InstanceKey) -> dict[InstanceKey, V]:
    """What was noted under the old name goes to the new one, unless that has a mark of its own."""
    kept = _without(marks, old)
    if old in marks:
        kept.setdefault(new, marks[old])
    return kept


def moved(state: State, old: InstanceKey, new: InstanceKey) -> State:
    """The state after the server ``old`` has turned out to be ``new``."""
    keyed: tuple[Mapping[InstanceKey, Any], ...] = (state.maintenances, state.rules, state.virtual_names)
    if not any(old in marks for marks in (*keyed, state.tags)) and not state.pools:
        return state
    maintenances = _renamed(state.maintenances, old, new)
    rules = _renamed(state.rules, old, new)
    names = _renamed(state.virtual_names, old, new)
    return replace(
        state,
        maintenances={key: replace(mark, key=key) for key, mark in maintenances.items()},
        rules={key: replace(mark, key=key) for key, mark in rules.items()},
        virtual_names={key: replace(mark, key=key) for key, mark in names.items()},
        tags=_renamed(state.tags, old, new),
        pools={name: _with_member(pool, old, new) for name, pool in state.pools.items()},
    )


def _with_member(pool: Pool, old: InstanceKey, new: InstanceKey) -> Pool:
    if old not in pool.members:
        return pool
    return replace(pool, members=tuple(sorted({new if key == old else key for key in pool.members})))


def without(state: State, gone: frozenset[InstanceKey]) -> State:
    """The state after these servers were forgotten. A pool keeps their addresses: it is somebody else's list."""
    return replace(
        state,
        maintenances={key: mark for key, mark in state.maintenances.items() if key not in gone},
        rules={key: mark for key, mark in state.rules.items() if key not in gone},
        tags={key: mark for key, mark in state.tags.items() if key not in gone},
        virtual_names={key: mark for key, mark in state.virtual_names.items() if key not in gone},
    )


HANDLERS: Mapping[type[Any], Any] = {
    BeginMaintenance: begin_maintenance,
    EndMaintenance: end_maintenance,
    RegisterRule: register_rule,
    DropRule: drop_rule,
    TagServer: tag_server,
    UntagServers: untag_servers,
    SubmitPool: submit_pool,
    DropPool: drop_pool,
    SetClusterAlias: set_cluster_alias,
    SetVirtualName: set_virtual_name,
}

"""What ``raftctl status`` makes of the nodes' answers: the verdict, one screen, an exit code. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator_raft.raftctl import views
from orchestrator_raft.raftctl.publishing import complaints

EXIT_HEALTHY, EXIT_PROBLEMS, EXIT_UNREACHABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Node:
    """One node as asked: what it says of itself, or why it says nothing."""

    url: str
    says: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    address: str = ""
    """Raft address by which another node knows it."""

    @property
    def name(self) -> str:
        return str(self.says.get("node_id") or self.address or self.url)


@dataclass(frozen=True, slots=True)
class Status:
    """All that was found out. ``fleet`` is empty when no node answers, and then ``fleet_error`` says why."""

    nodes: tuple[Node, ...]
    fleet: Mapping[str, Any] = field(default_factory=dict)
    fleet_error: str = ""

    @property
    def answering(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.says)

    @property
    def leader(self) -> Node | None:
        """The node that holds authority, by its own word."""
        return next((node for node in self.answering if node.says.get("holds_authority")), None)


def judge(status: Status) -> tuple[str, ...]:
    """Everything that is not as it should be, worst first; empty when all is well. A downtime silences its server."""
    found: list[str] = []
    if not status.answering:
        return tuple(node.error for node in status.nodes)
    if status.leader is None:
        found.append("no node holds authority: nothing is recovered until a majority of the nodes is up")
    found += [f"node {node.name} does not answer: {node.error}" for node in status.nodes if not node.says]
    found += [f"node {node.name}: {node.says['problem']}" for node in status.answering if node.says.get("problem")]
    if status.fleet_error:
        found.append(f"the clusters are not known: {status.fleet_error}")
    found += [_running(each) for each in _objects(status, "recoveries") if each.get("end") == "running"]
    automatic = status.fleet.get("automatic_recoveries")
    if isinstance(automatic, dict) and automatic.get("Details") == "disabled":
        found.append("automatic recoveries are disabled: raftctl recoveries enable")
    found += [_paused(each) for each in _objects(status, "pauses")]
    found += _refused_failovers(status)
    found += complaints(status.fleet.get("publications"))
    in_downtime = {each.get("server") for each in _objects(status, "marked") if each.get("downtime")}
    diagnoses = [each for each in _objects(status, "diagnoses") if each.get("server") not in in_downtime]
    found += [f"{each.get('server')}: {said}" for each in diagnoses if (said := _said(each, status))]
    diagnosed = {each.get("server") for each in diagnoses if each.get("severity")}
    troubled = [each for each in _objects(status, "troubled") if each.get("server") not in diagnosed]
    found += [f"{each.get('server')}: {_trouble(each)}" for each in troubled]
    found += [f"{each.get('server')}: {views.marks(each)}" for each in _objects(status, "marked") if each.get("stale")]
    return tuple(found)


def _paused(pause: Mapping[str, Any]) -> str:
    """Whose servers nobody writes to, and the way out."""
    name = str(pause.get("cluster") or "")
    said = f"writes to {name or 'all clusters'} are paused by {pause.get('by')}: {pause.get('reason')}"
    return f"{said}: raftctl resume {name}".rstrip()


def _refused_failovers(status: Status) -> list[str]:
    """A failover that would be refused, told before the primary dies.

    Nothing is said where people switched it off, and where more is wrong or under way, which is said anyway.
    """
    busy = {each.get("cluster_id") for each in _objects(status, "recoveries") if each.get("end") == "running"}
    return [
        views.refused_failover(cluster)
        for cluster in _objects(status, "clusters")
        if views.refused_failover(cluster)
        and not cluster["automatic_failover"].get("by_choice")
        and _cluster_state(status, str(cluster.get("id"))) == "ok"
        and cluster.get("id") not in busy
    ]


def _said(diagnosis: Mapping[str, Any], status: Status) -> str:
    codes = diagnosis.get("structure_warnings") or ()
    warnings = ", ".join(_warned(each) for each in diagnosis.get("structure") or () if each.get("code") in codes)
    text = f"{diagnosis.get('code')}: {diagnosis.get('text')}" if diagnosis.get("severity") else ""
    why_not = _why_not_repaired(diagnosis, status) if text else ""
    return "; ".join(part for part in (f"{text}{f' ({why_not})' if why_not else ''}", warnings) if part)


def _warned(weakness: Mapping[str, Any]) -> str:
    evidence = "; ".join(map(str, weakness.get("evidence") or ()))
    return f"{weakness.get('code')} ({evidence})" if evidence else str(weakness.get("code"))


def _trouble(server: Mapping[str, Any]) -> str:
    """What ails a server that no rule is about: most often a replica."""
    unreachable = server.get("unreachable")
    if isinstance(unreachable, Mapping):
        return f"{unreachable.get('kind')}: {unreachable.get('detail')}"
    facts = server.get("facts")
    channels = facts.get("channels") if isinstance(facts, Mapping) else None
    for channel in channels or ():
        for part in ("receiver", "applier"):
            if channel.get(part) != "running":
                error = channel.get(f"{part}_error")
                return f"its {part} is {channel.get(part)}" + (f": {error}" if error else "")
    return f"lags {views.lag(facts)}" if isinstance(facts, Mapping) else "it has not been probed yet"


def _why_not_repaired(diagnosis: Mapping[str, Any], status: Status) -> str:
    """Why nobody does anything about it: the analysis says so, the claim was refused, or the last attempt failed."""
    if diagnosis.get("not_repaired_because"):
        return str(diagnosis["not_repaired_because"])
    place = (diagnosis.get("server"), diagnosis.get("code"))
    for each in _objects(status, "blocked"):
        if (each.get("key"), each.get("code")) == place:
            return f"not repaired: {each.get('reason')}"
    tried = (each for each in _objects(status, "recoveries") if each.get("subject", {}).get("key") == place[0])
    last = next(tried, None)
    if last is None or last.get("end") in ("running", "succeeded"):
        return ""
    errors = last.get("errors") or [last.get("end")]
    return f"recovery {last.get('number')} did not repair it: {errors[-1]}"


def _running(recovery: Mapping[str, Any]) -> str:
    marks = [each for each in recovery.get("timeline") or () if isinstance(each, dict)]
    last = f"{marks[-1].get('name')} {marks[-1].get('text') or ''}".strip() if marks else "just begun"
    where = str(recovery.get("subject", {}).get("key", ""))
    return f"{where}: recovery {recovery.get('number')} is running ({views.what(recovery)}): {last}"


def _objects(status: Status, name: str) -> list[Mapping[str, Any]]:
    value = status.fleet.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def exit_code(status: Status, problems: tuple[str, ...]) -> int:
    if not status.answering:
        return EXIT_UNREACHABLE
    return EXIT_PROBLEMS if problems else EXIT_HEALTHY


def view(status: Status, problems: tuple[str, ...]) -> views.View:
    """One screen."""
    nodes = views.Table(
        ("NODE", "RAFT ADDRESS", "HTTP", "ROLE", "TERM", "LEADER", "HEARS", "VERSION", "STATE"),
        tuple(_node_row(node, status) for node in status.nodes),
    )
    clusters = _cluster_table(status) if status.fleet else ()
    title = "1 problem:" if len(problems) == 1 else f"{len(problems)} problems:"
    verdict = [title, *(f"  {text}" for text in problems)] if problems else ["healthy"]
    return (nodes, *clusters, views.Lines((*verdict, *_silenced(status), *_advice(status))))


def _advice(status: Status) -> tuple[str, ...]:
    """Settings that would cost dearly in a failure; no problem today."""
    return tuple(
        f"advice: {each.get('server')}: {weakness.get('text')} ({'; '.join(map(str, weakness.get('evidence') or ()))})"
        for each in _objects(status, "diagnoses")
        for weakness in each.get("structure") or ()
        if weakness.get("code") in (each.get("advice") or ())
    )


def _silenced(status: Status) -> tuple[str, ...]:
    """What is wrong with servers in downtime: no problem, but nobody should have to search for it."""
    downtimes = {each.get("server"): views.marks(each) for each in _objects(status, "marked") if each.get("downtime")}
    return tuple(
        f"in downtime: {each.get('server')}: {each.get('code')} ({downtimes[each.get('server')]})"
        for each in _objects(status, "diagnoses")
        if each.get("server") in downtimes and each.get("severity")
    )


def _node_row(node: Node, status: Status) -> tuple[str, ...]:
    says = node.says
    if not says:
        return (node.name, node.address, node.url, "", "", "", "", "", "does not answer")
    role = str(says.get("role", ""))
    if role == "Leader" and not says.get("holds_authority"):
        role = "Leader without authority"
    others = len(says.get("peers") or ()) - 1
    heard = set(says.get("connected") or ()) - {says.get("node_id")}
    hears = f"{len(heard)} of {max(0, others)}"
    return (
        node.name, str(says.get("advertise", "")), node.url, role, str(says.get("term", "")),
        _leader_name(str(says.get("leader_id") or "none"), status), hears, str(says.get("version", "")),
        str(says.get("problem") or "ok"),
    )  # fmt: skip


def _leader_name(node_id: str, status: Status) -> str:
    known = next((node for node in status.answering if node.says.get("node_id") == node_id), None)
    return str(known.says.get("advertise") or node_id) if known else node_id


def _cluster_table(status: Status) -> tuple[views.Table, ...]:
    (table,) = views.clusters(status.fleet.get("clusters"))
    if not isinstance(table, views.Table):
        return ()
    ids = [str(each.get("id")) for each in _objects(status, "clusters")]
    rows = tuple((*row, _cluster_state(status, id_)) for row, id_ in zip(table.rows, ids, strict=True))
    return (views.Table((*table.columns, "STATE"), rows, table.empty),)


def _cluster_state(status: Status, cluster_id: str) -> str:
    """What is wrong in one cluster. Only the leader looks at servers, so without one nobody knows."""
    if status.leader is None:
        return "unknown"
    codes = [
        str(each.get("code"))
        for each in _objects(status, "diagnoses")
        if each.get("cluster_id") == cluster_id and each.get("severity")
    ]
    return ", ".join(dict.fromkeys(codes)) or "ok"


def as_json(status: Status, problems: tuple[str, ...]) -> dict[str, Any]:
    """The same for programs: the nodes' and the API's own words."""
    nodes = [{"url": node.url, "error": node.error, "address": node.address, **node.says} for node in status.nodes]
    return {"healthy": not problems, "problems": list(problems), "nodes": nodes, **status.fleet}

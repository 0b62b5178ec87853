"""``raftctl status``: every node asked about itself, one of them about the clusters, and a verdict.

Gathering is a few requests at the same time; ``judge`` is pure. The nodes are found from what the user names: each that
answers says where the others serve HTTP (``http_uris``, or at least the leader's) and which Raft addresses there are; a
node whose URL nobody knows is looked for on its Raft host with the HTTP port of the one that answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator_raft.core.errors import InvalidInput, OrchestratorError
from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raftctl import views
from orchestrator_raft.raftctl.client import Client, Endpoint, at_once, parse_endpoint
from orchestrator_raft.raftctl.requests import request

NODE_TIMEOUT_S = 3.0
EXIT_HEALTHY, EXIT_PROBLEMS, EXIT_UNREACHABLE = 0, 1, 2
FLEET = {
    "clusters": "clusters-info",
    "problems": "replication-analysis",
    "marked": "downtimed",
    "recoveries": "check-global-recoveries",
}
"""What is asked about the clusters: name in the answer, operation."""


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


def gather(client: Client) -> Status:
    """Ask everybody. Never raises for a node that does not answer or refuses."""
    asked: dict[str, Node] = {}
    todo = list(client.endpoints)
    for _ in range(2):
        asked |= {node.url: node for node in at_once(lambda endpoint: _ask(client, endpoint), todo)}
        todo = [endpoint for endpoint in _others(asked.values(), client.endpoints) if str(endpoint) not in asked]
        if not todo:
            break
    nodes = _each_once(asked.values(), {str(endpoint) for endpoint in client.endpoints})
    endpoints = _in_order(nodes, client.endpoints)
    if not endpoints:
        return Status(nodes)
    fleet_client = Client(endpoints[:1], request_id=client.request_id, timeout_s=client.timeout_s)
    try:
        answers = at_once(
            lambda name: fleet_client.call(request(OPERATION_BY_NAME[name], {})).value, tuple(FLEET.values())
        )
    except OrchestratorError as error:
        return Status(nodes, fleet_error=str(error))
    return Status(nodes, dict(zip(FLEET, answers, strict=True)))


def _ask(client: Client, endpoint: Endpoint) -> Node:
    """What one node says of itself."""
    limit_s = min(NODE_TIMEOUT_S, client.timeout_s or NODE_TIMEOUT_S)
    try:
        says = client.ask(endpoint, request(OPERATION_BY_NAME["raft-status"], {}), limit_s).value
    except OrchestratorError as error:
        return Node(str(endpoint), error=str(error))
    if not isinstance(says, dict) or "node_id" not in says:
        return Node(str(endpoint), error=f"{endpoint} is no orchestrator-raft node")
    return Node(str(endpoint), says)


def _others(nodes: Iterable[Node], given: tuple[Endpoint, ...]) -> list[Endpoint]:
    """Endpoints of the nodes that the answering ones know of."""
    found: dict[str, Endpoint] = {}
    for node in nodes:
        if node.says:
            known = next((each for each in given if str(each) == node.url), given[0])
            uris = [str(uri) for uri in node.says.get("http_uris") or (node.says.get("leader_uri"),) if uri]
            learned = [endpoint for uri in uris if (endpoint := _learned(uri, known)) is not None]
            guessed = () if node.says.get("http_uris") else _guesses(node, known)
            found |= {str(endpoint): endpoint for endpoint in (*learned, *guessed)}
    return list(found.values())


def _learned(uri: str, known: Endpoint) -> Endpoint | None:
    try:
        return replace(parse_endpoint(f"{uri}{known.path}"), credentials=known.credentials)
    except InvalidInput:
        return None


def _guesses(node: Node, known: Endpoint) -> list[Endpoint]:
    peers = [str(peer) for peer in node.says.get("peers") or () if peer != node.says.get("advertise")]
    return [replace(known, host=_host(peer)) for peer in peers]


def _host(address: str) -> str:
    return address.rpartition(":")[0].removeprefix("[").removesuffix("]")


def _each_once(asked: Iterable[Node], named: set[str]) -> tuple[Node, ...]:
    """Nodes by their ids; a Raft address without an answer is one that does not answer; other failed guesses are not.

    A URL that somebody named stays, whatever became of it.
    """
    answering = {str(node.says["node_id"]): node for node in reversed(list(asked)) if node.says}
    present = {str(node.says.get("advertise")) for node in answering.values()}
    silent = {node.url: node for node in asked if not node.says}
    missing: dict[str, Node] = {}
    for node in answering.values():
        for peer in node.says.get("peers") or ():
            if peer not in present:
                missing[str(peer)] = _silent(str(peer), silent)
    taken = {node.url for node in missing.values()}
    left = [node for url, node in silent.items() if url in named and url not in taken]
    ordered = sorted((*answering.values(), *missing.values()), key=lambda node: node.name)
    return (*ordered, *left)


def _silent(peer: str, silent: Mapping[str, Node]) -> Node:
    host = _host(peer)
    tried = next((node for url, node in silent.items() if parse_endpoint(url).host == host), None)
    return replace(tried, address=peer) if tried else Node("", error="its HTTP address is not known", address=peer)


def _in_order(nodes: tuple[Node, ...], given: tuple[Endpoint, ...]) -> list[Endpoint]:
    """Endpoints of the nodes that answer, the leader's first."""
    credentials = given[0].credentials
    ordered = sorted((node for node in nodes if node.says), key=lambda node: not node.says.get("holds_authority"))
    by_url = {str(endpoint): endpoint for endpoint in given}
    return [
        by_url.get(node.url) or replace(parse_endpoint(node.url), credentials=credentials) for node in ordered
    ]  # fmt: skip


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
    recoveries = status.fleet.get("recoveries")
    if isinstance(recoveries, dict) and recoveries.get("Details") == "disabled":
        found.append("automatic recoveries are disabled: raftctl recoveries enable")
    in_downtime = {each.get("server") for each in _objects(status, "marked") if each.get("downtime")}
    diagnoses = [each for each in _objects(status, "problems") if each.get("server") not in in_downtime]
    found += [f"{each.get('server')}: {_said(each)}" for each in diagnoses]
    found += [f"{each.get('server')}: {views.marks(each)}" for each in _objects(status, "marked") if each.get("stale")]
    return tuple(found)


def _said(diagnosis: Mapping[str, Any]) -> str:
    warnings = ", ".join(str(code) for code in diagnosis.get("structure_warnings") or ())
    text = f"{diagnosis.get('code')}: {diagnosis.get('text')}" if diagnosis.get("severity") else ""
    skipped = f" ({diagnosis['not_repaired_because']})" if diagnosis.get("not_repaired_because") else ""
    return "; ".join(part for part in (f"{text}{skipped}", warnings) if part)


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
    return (nodes, *clusters, views.Lines(tuple(verdict)))


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
    codes = [
        str(each.get("code"))
        for each in _objects(status, "problems")
        if each.get("cluster_id") == cluster_id and each.get("severity")
    ]
    return ", ".join(dict.fromkeys(codes)) or "ok"


def as_json(status: Status, problems: tuple[str, ...]) -> dict[str, Any]:
    """The same for programs: the nodes' and the API's own words."""
    nodes = [{"url": node.url, "error": node.error, "address": node.address, **node.says} for node in status.nodes]
    return {"healthy": not problems, "problems": list(problems), "nodes": nodes, **_fleet_json(status)}


def _fleet_json(status: Status) -> dict[str, Any]:
    fleet = {name: value for name, value in status.fleet.items() if name != "problems"}
    return {**fleet, "diagnoses": status.fleet.get("problems")} if fleet else {}

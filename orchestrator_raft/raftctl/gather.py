"""Asks every node about itself, and one of them about the clusters: for ``raftctl status``.

The nodes are found from what the user names: each that answers says where the others serve HTTP (``http_uris``, or at
least the leader's) and which Raft addresses there are. Without ``http_uris`` a node is looked for on its Raft host with
the HTTP port of the one that answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from orchestrator_raft.core.errors import InvalidInput, OrchestratorError
from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raftctl.client import Client, Endpoint, at_once, parse_endpoint
from orchestrator_raft.raftctl.requests import request
from orchestrator_raft.raftctl.status import Node, Status

NODE_TIMEOUT_S = 3.0
FLEET: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "clusters": ("clusters-info", {}),
    "diagnoses": ("replication-analysis", {}),
    "troubled": ("problems", {}),
    "marked": ("downtimed", {}),
    "automatic_recoveries": ("check-global-recoveries", {}),
    "pauses": ("pauses", {}),
    "recoveries": ("audit-recovery", {"every": "true"}),
    "blocked": ("blocked-recoveries", {}),
    "publications": ("publications", {}),
}
"""What is asked about the clusters: its name here and in the JSON, the operation, its arguments."""


def gather(client: Client) -> Status:
    """Ask everybody. Never raises for a node that does not answer or refuses."""
    asked: dict[str, Node] = {}
    todo = list(client.endpoints)
    for _ in range(2):
        asked |= {node.url: node for node in at_once(lambda endpoint: _ask(client, endpoint), todo)}
        todo = [endpoint for endpoint in others(asked.values(), client.endpoints) if str(endpoint) not in asked]
        if not todo:
            break
    nodes = _each_once(asked.values(), {str(endpoint) for endpoint in client.endpoints})
    endpoints = _in_order(nodes, client.endpoints)
    if not endpoints:
        return Status(nodes)
    fleet_client = client.to(endpoints[:1])
    requests = [request(OPERATION_BY_NAME[name], arguments) for name, arguments in FLEET.values()]
    try:
        answers = at_once(lambda each: fleet_client.call(each).value, requests)
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


def others(nodes: Iterable[Node], given: tuple[Endpoint, ...]) -> list[Endpoint]:
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
    """Never from https to http: secrets meant for the one must not be sent over the other."""
    try:
        found = replace(parse_endpoint(f"{uri}{known.path}"), credentials=known.credentials)
    except InvalidInput:
        return None
    return None if (known.scheme, found.scheme) == ("https", "http") else found


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

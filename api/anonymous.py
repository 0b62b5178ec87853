"""``?anonymize=true``: a read with names replaced, to be shown to others: hosts, places, clusters and users.

A name becomes a kind and six hexadecimal digits, the same on every node and at every time, so that two answers can be
held beside each other. The digits come from the name and the id of the cluster's first node, which outsiders do not
have, so nobody can try names until one fits. Replaced is every word that equals a name which this product knows, and
every IP address but loopback, wherever in the answer it stands, messages included. What people wrote into reasons and
comments is free text, and stays but for such words.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from orchestrator_raft.core.instance import Facts
from orchestrator_raft.core.replicated import State
from orchestrator_raft.operations import Operation

from .compat.go import dump
from .exchange import TEXT, Answer, Ask
from .node import NodeStatus

SWITCH = "anonymize"
DIGITS = 6
NOT_REPLACED = frozenset({"localhost", "orchestrator-raft", "null", "none", "true", "false", ""})
_WORD = re.compile(r"[\w.\-]+")
_ADDRESS = re.compile(r"^\d{1,3}(?:\.\d{1,3}){3}$")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.%\w]*:[0-9A-Fa-f:.%\w]*\]")
Names = Mapping[str, str]


def is_asked(ask: Ask, operation: Operation) -> bool:
    """Only reads are anonymised. On doubt they are: whoever names the switch does not want names to get out."""
    return not operation.writes and ask.query_values.get(SWITCH, "false").lower() not in ("false", "0", "no")


def without_switch(ask: Ask) -> Ask:
    """The same request as its operation knows it."""
    return replace(ask, query=tuple(pair for pair in ask.query if pair[0] != SWITCH))


def answer_without_names(answer: Answer, state: State, node: NodeStatus, asking: str) -> Answer:
    """The answer as it may be shown to others. ``asking`` is the name of who asked, which the answer may tell, too."""
    return anonymized(answer, names_of(state, node, asking), salt_of(state))


def names_of(state: State, node: NodeStatus, asking: str = "") -> Names:
    """Every name that is known, and what stands for it."""
    salt = next(iter(state.nodes), "")
    found: dict[str, str] = {}
    for kind, text in (*_names(state, node), ("user", asking)):
        if text not in NOT_REPLACED and text not in (*state.nodes, node.node_id) and not _is_loopback(text):
            found.setdefault(text, _stand_in(kind, text, salt))
    return found


def _stand_in(kind: str, text: str, salt: str) -> str:
    return f"{kind}-{hashlib.blake2b(text.encode(), key=salt.encode()[:64], digest_size=8).hexdigest()[:DIGITS]}"


def _names(state: State, node: NodeStatus) -> Iterator[tuple[str, str]]:
    yield from _hosts(state, node)
    for cluster in state.clusters.values():
        yield from (("cluster", text) for text in (cluster.alias, cluster.alias_by_hand, cluster.domain))
    for record in state.servers.values():
        if record.facts is not None:
            yield from _of_facts(record.facts)
    for recovery in state.recoveries.values():
        yield "cluster", recovery.subject.cluster_alias
    for publication in state.publications.values():
        yield "cluster", publication.alias
    yield from (("user", text) for text in _users(state))


def _hosts(state: State, node: NodeStatus) -> Iterator[tuple[str, str]]:
    for key, record in state.servers.items():
        yield from (("host", each.hostname.lstrip("/")) for each in (key, *record.addresses))
        if _ADDRESS.match(key.hostname) is None:
            yield "host", key.hostname.partition(".")[0]
    yield from (("host", mark.hostname) for mark in state.virtual_names.values())
    yield from (("host", key.hostname) for pool in state.pools.values() for key in pool.members)
    yield "host", node.hostname
    for each in state.nodes.values():
        for address in (each.address, each.http_uri.partition("://")[2]):
            yield "host", address.rpartition(":")[0].strip("[]") or address


def _of_facts(facts: Facts) -> Iterator[tuple[str, str]]:
    place = facts.location
    yield from (("place", text) for text in (place.data_center, place.region, place.environment))
    yield from (("cluster", text) for text in (facts.cluster_alias, facts.cluster_domain))
    yield "host", facts.alias
    for channel in facts.channels:
        yield "host", channel.source.hostname.lstrip("/")
        yield "user", channel.user
    yield from (("host", key.hostname) for key in facts.replicas)


def _users(state: State) -> Iterator[str]:
    yield from (each.owner for each in state.downtimes.values())
    yield from (each.owner for each in state.maintenances.values())
    yield from (each.owner for each in state.access_tokens.values())
    yield from (each.by for each in state.audit)
    yield from (each.by for each in state.rules.values())
    yield from (each.by for each in state.pools.values())
    yield from (each.by for each in state.pauses.values())
    yield from (tag.by for tags in state.tags.values() for tag in tags)
    for recovery in state.recoveries.values():
        yield recovery.request.by
        yield recovery.acknowledged.by if recovery.acknowledged is not None else ""


def anonymized(answer: Answer, names: Names, salt: str) -> Answer:
    """The answer with names replaced, in whatever form it is."""
    if answer.content_type.startswith("application/") and "json" in answer.content_type:
        body = dump(_walked(orjson.loads(answer.body), names, salt))
    elif answer.content_type.startswith(("text/plain", TEXT)):
        body = _text(answer.body.decode("utf-8", "replace"), names, salt).encode()
    else:
        return answer
    return replace(answer, body=body)


def salt_of(state: State) -> str:
    """What outsiders do not know."""
    return next(iter(state.nodes), "")


def _walked(value: Any, names: Names, salt: str) -> Any:
    if isinstance(value, str):
        return _text(value, names, salt)
    if isinstance(value, list):
        return [_walked(each, names, salt) for each in value]
    if isinstance(value, dict):
        return {_key(key, names, salt): _walked(each, names, salt) for key, each in value.items()}
    return value


def _key(key: str, names: Names, salt: str) -> str:
    """Names of fields stay; an address, or a name with a point or a hyphen, is none."""
    return _text(key, names, salt) if re.search(r"[.:\-]", key) else key


def _text(text: str, names: Names, salt: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        bare = word.rstrip(".-")
        known = names.get(word) or (names[bare] + word[len(bare) :] if bare in names else "")
        if known:
            return known
        return _stand_in("host", word, salt) if _ADDRESS.match(word) and not _is_loopback(word) else word

    spoken = names.get(text)
    if spoken is not None:
        return spoken
    return _WORD.sub(replaced, _IPV6.sub(lambda match: _bracketed(match, names, salt), text))


def _bracketed(match: re.Match[str], names: Names, salt: str) -> str:
    address = match[0].strip("[]")
    if _is_loopback(address):
        return match[0]
    try:
        ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return match[0]
    return names.get(address) or _stand_in("host", address, salt)


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False

"""Our answers beside those recorded from a peer: keys, order, types, null or [], and values.

The fleet is built back from the recordings, so values are compared too. What differs on purpose is in ``ALLOWED``, row
by row with its reason, and in ``docs/differences.md``; everything else has to be equal. A recording of a route that we
do not have yet is listed by name, so that none is skipped in silence.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from api.exchange import Answer, Ask
from api.front import Front
from api.node import NodeStatus
from api.settings import ApiSettings
from orchestrator_raft.core.errors import InvalidInput, ServerError
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.replicated import State
from orchestrator_raft.engine.changelog import AnalysisChange
from orchestrator_raft.engine.figures import ProbeFigure, QueueFigure
from orchestrator_raft.engine.service import Call, Reply
from orchestrator_raft.engine.service.reads import READS
from orchestrator_raft.engine.view import Moment
from tests.engine.twins import MemoryNetwork
from tests.rest import recorded
from tests.rest.recorded import Setting, read

DEFECTS_OF_THEIRS = {"bulk-promotion-rules"}
"""Recorded on SQLite, where their query is no SQL."""
KEYS_ONLY = {"discovery-metrics-aggregated_30", "discovery-queue-metrics-aggregated_30"}
"""Measurements; their names and kinds are compared."""
LEFT_OUT_HERE = {"backend-query-metrics-aggregated_30", "hostname-resolve-cache", "write-buffer-metrics-aggregated_30"}
"""Answered with the reason: test_peer_routes. No name is kept, so that list is empty."""
COMPARED = sorted(set(recorded.names()) - DEFECTS_OF_THEIRS - LEFT_OUT_HERE - KEYS_ONLY)
STEPS = "audit-recovery-steps_UID.after-failover"
BEFORE, AFTER_TAKEOVER = "2026-11-23T02:51:40Z", "2026-11-23T02:52:04Z"
AFTER_FAILOVER = "2026-11-23T02:52:42Z"
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?")

ALLOWED: tuple[tuple[str, str], ...] = (
    (r".*Timestamp|.*\.(Audit|Acknowledged)At|.*\.(First|Last)SeenActive", "the moment; its form is compared"),
    (r".*\.(Uptime|LastDiscoveryLatency|ElapsedDowntime)", "the moment of the recording"),
    (r".*\.SecondsSinceLastSeen\.Int64", "the moment of the recording"),
    (r".*\.DowntimeOwner", "ours is orchestrator-raft, theirs a host name"),
    (r".*\.SemiSync(Master|Replica)PluginNewVersion", "theirs only after a fresh probe"),
    (r".*\.ReplicationSSLVerifyServerCert\.Valid", "theirs only after a fresh probe"),
    (r".*\.SecondsSinceLastSeen\.Valid", "theirs not after a fresh probe"),
    (r".*\.IsUpToDate", "the moment of the recording"),
    (r".*\.FlavorName", "theirs is empty after a fresh probe"),
    (r".*\.DowntimeRemainingSeconds", "theirs has the wrong sign"),
    (r".*\.ClusterDetails\.CountInstances", "theirs is 0 in most analyses"),
    (r".*\.ClusterDetails\.ClusterDomain", "theirs is empty in lists"),
    (r".*\.DBBackend", "we have none"),
    (r".*\.Description", "our own words"),
    (r"(downtimed|instance_127.0.0.1_24001).after-failover:.*\.(SlaveHosts|Replicas).*",
     "theirs is what the dead server said last, ours who replicates from it"),
    (r"\.Details\.(ProcessingNode(Hostname|Token))", "theirs is empty in a live reply"),
    (r"\.Details\.RecoveryType", "we know no Pseudo-GTID"),
    (r"\.Message:ERROR", "theirs begins with the time"),
    (r"\[\d+\]\.Id:step", "numbered by recovery"),
    (r"agents:\.Message", "ours goes on to say why"),
)  # fmt: skip


NOWHERE = InstanceKey("127.0.0.1", 1)


class FixedService:
    """The real handlers of reads on one fixed moment, and given replies for writes."""

    may_act = True

    def __init__(self, moment: Moment, replies: Mapping[str, Reply]) -> None:
        self._moment = moment
        self._replies = replies

    async def call(self, call: Call) -> Reply:
        handler = READS.get(call.operation.name)
        if handler is None and call.arguments.get("target") == NOWHERE:
            raise ServerError(f"Error reading {NOWHERE}")
        return handler(call, self._moment) if handler is not None else self._replies[call.operation.name]


class FixedNode:
    def __init__(self, status: NodeStatus) -> None:
        self._status = status

    def status(self) -> NodeStatus:
        return self._status


def setting_of(name: str) -> Setting:
    """The fleet at the time of this recording."""
    taken = read("audit-recovery.after-failover").json
    takeover, failover = recorded.recovery_of(taken[1]), recorded.recovery_of(taken[0])
    if name.endswith(".after-takeover"):
        takeover = dataclasses.replace(takeover, acknowledged=None)
        instances = read("cluster_alias_bench.after-takeover").json
        return Setting(instances, AFTER_TAKEOVER, [takeover], detections("after-takeover", takeover.id))
    if name.endswith(".during-failure"):
        return Setting(read("cluster_alias_bench.after-takeover").json, AFTER_TAKEOVER, [takeover])
    if name.endswith(".after-failover"):
        lost = read("downtimed.after-failover").json + read("problems.after-failover").json
        instances = read("cluster_alias_bench.after-failover").json + lost
        audit = [recorded.audit_of(each) for each in reversed(read("audit.after-failover").json)]
        found = detections("after-failover", takeover.id, failover.id)
        aliases = {"127.0.0.1:24001": ""}
        is_analysis = name.startswith("replication-analysis")
        return Setting(instances, AFTER_FAILOVER, [takeover, failover], found, audit, aliases, not is_analysis)
    audit = [recorded.audit_of(each) for each in reversed(read("audit").json)]
    if name.startswith("relocate") and read(name).status == 200:
        return Setting([_moved(name, each) for each in read("cluster_bench").json], BEFORE, audit=audit)
    return Setting(read("cluster_bench").json, BEFORE, audit=audit)


def _moved(name: str, shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """The instance as the reply of a move shows it."""
    details = read(name).json["Details"]
    return {**details, "LastSeenTimestamp": shown["LastSeenTimestamp"]} if details["Key"] == shown["Key"] else shown


def detections(when: str, *recoveries: str) -> list[Any]:
    shown = reversed(read(f"audit-failure-detection.{when}").json)
    return [recorded.detection_of(each, recovery) for each, recovery in zip(shown, recoveries, strict=True)]


def replies(name: str, moment: Moment) -> dict[str, Reply]:
    """What the service says to the recorded writes."""
    key = InstanceKey("127.0.0.1", 24001)
    server = moment.topology.servers.get(key)
    found = {
        "begin-downtime": Reply(message=f"Downtime begun: {key}", value=key),
        "end-downtime": Reply(message=f"Downtime ended: {key}", value=key),
        "set-read-only": Reply(message="Server set as read-only", value=server, moment=moment),
    }
    at_ms = 1_795_402_300_123
    probes = [ProbeFigure(at_ms=at_ms, key=key, total_s=0.1), ProbeFigure(at_ms=at_ms, key=key, total_s=1, error="no")]
    found["resolve"] = Reply(message="Instance resolved", value=InstanceKey("127.0.0.1", 24000))
    found["discovery-metrics-aggregated"] = Reply(value=probes, moment=moment)
    samples = [QueueFigure(at_ms=at_ms, active=1, waiting=0)]
    found["discovery-queue-metrics-aggregated"] = Reply(value=samples, moment=moment)
    if name.startswith("replication-analysis-changelog"):
        shown = [(recorded.key_of(each["AnalyzedInstanceKey"]), each["Changelog"]) for each in read(name).json]
        changes = [(one, [_change(text) for text in texts]) for one, texts in shown]
        found["replication-analysis-changelog"] = Reply(value=changes, moment=moment)
    if name.startswith("relocate"):
        found["relocate"] = Reply(message=read(name).json["Message"], value=server, moment=moment)
    if name.startswith("graceful"):
        shown = read(name).json["Details"]
        recovery = recorded.recovery_of(shown, kind="takeover", command="graceful-master-takeover")
        taken = dataclasses.replace(moment, state=State(recoveries={recovery.id: recovery}))
        message = "graceful-master-takeover: successor promoted"
        found["graceful-master-takeover-auto"] = Reply(message=message, value=recovery, moment=taken)
    return found


def _change(text: str) -> AnalysisChange:
    at, _, code = text.partition(";")
    return AnalysisChange(recorded.milliseconds(at), code.removesuffix(","))


def ours(name: str, path: str) -> Answer:
    moment = setting_of(name).moment()
    if name == STEPS:
        recovery = moment.state.recoveries[read(name).json[0]["RecoveryUID"]]
        with_steps = dataclasses.replace(recovery, timeline=recorded.marks_of(read(name).json), errors=())
        state = dataclasses.replace(moment.state, recoveries={recovery.id: with_steps})
        moment = dataclasses.replace(moment, state=state)
    node = recorded.node_of(read("health").json["Details"])

    def defect(_request_id: str, what: str, error: BaseException) -> None:
        raise AssertionError(what) from error

    service: Any = FixedService(moment, replies(name, moment))
    front = Front(ApiSettings(), service, FixedNode(node), MemoryNetwork().channel("n1"), on_error=defect)
    path, _, query = path.partition("?")
    pairs = tuple((pair.partition("=")[0], pair.partition("=")[2]) for pair in query.split("&") if pair)
    headers = {"accept": ("*/*",), "user-agent": ("curl/7.88.1",), "host": ("127.0.0.1:3170",)}
    return asyncio.run(front.answer(Ask(method="GET", path=path, query=pairs, headers=headers, request_id="r")))


def differences(theirs: Any, mine: Any, where: str = "") -> Iterator[str]:
    """Every difference in type, key, order or value, as one line each."""
    if type(theirs) is not type(mine):
        yield f"{where}: type {type(theirs).__name__} {theirs!r} became {type(mine).__name__} {mine!r}"
    elif isinstance(theirs, dict):
        if list(theirs) != list(mine):
            yield f"{where}: keys {list(theirs)} became {list(mine)}"
        else:
            for key in theirs:
                yield from differences(theirs[key], mine[key], f"{where}.{key}")
    elif isinstance(theirs, list):
        if len(theirs) != len(mine):
            yield f"{where}: {len(theirs)} entries became {len(mine)}"
        for position, (one, other) in enumerate(zip(theirs, mine, strict=False)):
            yield from differences(one, other, f"{where}[{position}]")
    elif theirs != mine:
        yield f"{where}: value {theirs!r} became {mine!r}"


def is_allowed(line: str, status: int, name: str) -> bool:
    where, _, what = line.partition(": ")
    kinds = [where, f"{name}:{where}"]
    kinds += [f"{where}:ERROR"] if status == 500 else []
    kinds += [f"{where}:step"] if name == STEPS else []
    if what.startswith(("type ", "keys ")):
        return False
    if not any(re.fullmatch(pattern, each) for pattern, _reason in ALLOWED for each in kinds):
        return False
    return _has_same_form(what)


def _has_same_form(what: str) -> bool:
    """A time stays a time and an empty one may become a time; other values are of one type already."""
    theirs, _, mine = what.removeprefix("value ").partition(" became ")
    if TIME.fullmatch(theirs.strip("'")):
        return TIME.fullmatch(mine.strip("'")) is not None
    return True


@pytest.mark.parametrize("name", COMPARED)
def test_our_answer_is_the_recorded_one(name: str) -> None:
    recording = read(name)
    path = recording.path or f"/api/audit-recovery-steps/{recording.json[0]['RecoveryUID']}"
    answer = ours(name, path)
    assert answer.status == recording.status
    assert recording.content_type in ("", answer.content_type)
    if recording.status == 404:
        assert answer.body.decode() == "404 page not found\n"
        return
    mine = json.loads(answer.body)
    found = [line for line in differences(recording.json, mine) if not is_allowed(line, recording.status, name)]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("name", sorted(KEYS_ONLY))
def test_measurements_have_the_recorded_names_in_their_order(name: str) -> None:
    theirs, mine = read(name).json, json.loads(ours(name, read(name).path).body)
    assert list(mine) == list(theirs)
    assert [isinstance(each, str) for each in mine.values()] == [isinstance(each, str) for each in theirs.values()]


def test_a_difference_of_any_kind_is_found() -> None:
    theirs = {"A": 1, "B": [], "C": None, "D": "x", "E": [1, 2]}
    changed = [
        {**theirs, "A": True}, {**theirs, "B": None}, {**theirs, "C": []}, {**theirs, "D": "y"}, {**theirs, "E": [1]},
        {"B": [], "A": 1, "C": None, "D": "x", "E": [1, 2]}, {"A": 1},
    ]  # fmt: skip
    assert list(differences(theirs, dict(theirs))) == []
    for each in changed:
        assert list(differences(theirs, each)) != [], each


def test_an_allowed_difference_is_one_of_value_and_never_of_type() -> None:
    assert is_allowed(".Key.LastDiscoveryLatency: value 1 became 2", 200, "x")
    assert not is_allowed(".Key.LastDiscoveryLatency: type int 1 became str '2'", 200, "x")
    assert not is_allowed(".Key.Version: value '1' became '2'", 200, "x")
    assert not is_allowed("[0].LastSeenTimestamp: value '2026-11-23T02:51:40Z' became 'soon'", 200, "x")


def test_an_unknown_server_is_refused_in_the_peers_words() -> None:
    with pytest.raises(InvalidInput, match="no server nonesuch:1 is known"):
        READS["instance"](
            Call(operation=_operation("instance"), arguments={"server": InstanceKey("nonesuch", 1)}),
            setting_of("clusters").moment(),
        )


def _operation(name: str) -> Any:
    from orchestrator_raft.operations import OPERATION_BY_NAME

    return OPERATION_BY_NAME[name]

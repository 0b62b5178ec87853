"""Who uses the HTTP side lives through the death of the leading node: events, checks, HAProxy, a repeated request."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pymysql

from sandbox import ports
from sandbox.dialects import APPLICATION
from sandbox.haproxy import find_or_install
from sandbox.nodes import Node
from tests.faults.conftest import NewStage
from tests.faults.stage import Stage, until

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "haproxy.cfg"
LISTEN_S = 40.0
ANSWER_S = 5.0


def status(url: str) -> int:
    """Status of a GET; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def is_up(url: str) -> bool:
    return status(url) == 200


def events(node: Node, last: str = "") -> Iterator[tuple[str, str, Any]]:
    """(id, type, data) of each event of a node's stream, until it ends or somebody has heard enough."""
    headers = {"Last-Event-ID": last} if last else {}
    deadline_s = time.monotonic() + LISTEN_S
    request = urllib.request.Request(f"{node.url}/api/v2/events", headers=headers)
    with urllib.request.urlopen(request, timeout=LISTEN_S) as stream:
        number = name = ""
        for line in stream:
            assert time.monotonic() < deadline_s, "not heard in time"
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "id":
                number = value
            elif field == "event":
                name = value
            elif field == "data":
                yield number, name, json.loads(value)
                number = name = ""


def heard(node: Node, wanted: str, last: str) -> tuple[str, list[str]]:
    """The id of the next event of a type after ``last``, and the types of all events before it."""
    before: list[str] = []
    for number, name, _ in events(node, last):
        if name == wanted:
            return number, before
        before.append(name)
    raise AssertionError(f"the stream of {node} ended without {wanted}: {before}")


@contextmanager
def balanced(stage: Stage, folder: Path) -> Iterator[tuple[str, int]]:
    """The shipped HAProxy configuration before this stage: URL of the API, port for writes."""
    text = CONFIGURATION.read_text().replace("/cluster/shop/", "/cluster/demo/")
    for node in stage.nodes.nodes:
        text = text.replace(f"db-manager-{node.number}:3000", node.url.removeprefix("http://"))
    lines = [line for line in text.splitlines() if ".example:3306 db" not in line]
    with ports.reserved() as block:
        api, checks, writes, reads = block[:4]
        text = "\n".join(
            f"{line}\n{servers(stage)}" if line.startswith("    default-server check") else line for line in lines
        )
        for old, new in ((":8080", api), (":3306\n", f"{writes}\n"), (":3307", reads), ("127.0.0.1:8081", checks)):
            text = text.replace(f"bind {old}", f"bind 127.0.0.1:{new}")
        path = folder / "haproxy.cfg"
        path.write_text(text.replace("port 8081", f"port {checks}") + "\n")
        with (folder / "haproxy.log").open("wb") as log:
            process = subprocess.Popen([find_or_install(), "-db", "-f", path], stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{api}", writes
        finally:
            assert process.poll() is None, (folder / "haproxy.log").read_text()
            process.terminate()
            process.wait(ANSWER_S)


def servers(stage: Stage) -> str:
    return "\n".join(f"    server {each.host}:{each.port} {each.host}:{each.port}" for each in stage.servers.servers)


def test_a_client_of_events_checks_and_haproxy_lives_through_a_failover_and_a_new_leader(
    new_stage: NewStage, tmp_path: Path
) -> None:
    stage = new_stage()
    leader = stage.nodes.wait_leader()
    follower = stage.other_node(leader)
    primary = stage.servers.primary()
    old = f"{primary.host}:{primary.port}"
    check = "/health/cluster/demo/primary?server="
    with balanced(stage, tmp_path) as (api, writes):
        until("the API answers through HAProxy", lambda: status(f"{api}/api/leader-check") == 200)
        until("writes reach the primary", lambda: port_behind(writes) == primary.port)
        assert [status(f"{node.url}{check}{old}") for node in stage.nodes.running()] == [200] * 3

        first = next(number for number, _, _ in events(follower, "0") if number)
        primary.kill()
        ended = stage.ended("dead_primary")
        number, before = heard(follower, "recovery-ended", first)
        assert {"recovery-started", "recovery-promoted", "primary-changed"} <= set(before), before
        successor = str(ended["successor"])
        for node in stage.nodes.running():
            until("every node names the successor", partial(is_up, f"{node.url}{check}{successor}"))
            assert status(f"{node.url}{check}{old}") == 503
        until("writes reach the successor", lambda: port_behind(writes) == int(successor.rpartition(":")[2]))

        leader.kill()
        stage.nodes.wait_leader()
        until("the API follows the leader", lambda: status(f"{api}/api/leader-check") == 200)
        assert port_behind(writes) == int(successor.rpartition(":")[2])
        follower.post("/api/v2/recoveries/disable")
        other = next(node for node in stage.nodes.running() if node is not follower)
        _, before = heard(other, "recoveries-disabled", number)
        assert "reset" not in before, "what was missed is known to every node"


def port_behind(door: int) -> int:
    """The port of the server that a connection to this door reaches; 0 for none."""
    try:
        connection = pymysql.connect(
            host="127.0.0.1", port=door, user=APPLICATION, password=APPLICATION, connect_timeout=3, read_timeout=3
        )
    except pymysql.err.MySQLError:
        return 0
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@port")
        (found,) = cursor.fetchone() or (0,)
    return int(found)

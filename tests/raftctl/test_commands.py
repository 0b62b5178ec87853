"""The command line, against the nodes' own HTTP side: what is sent, what is shown, which code."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_raft.core.errors import Refused, ServerError, Unavailable
from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.moves.model import Act, LeftOut, Plan, Stage, Verb
from orchestrator_raft.engine.service import Call, Reply
from tests.free_ports import free_port
from tests.raftctl.conftest import Raftctl, Ran, run_process
from tests.raftctl.fleet import RECOVERY, Fleet, Node, healthy_state, with_marks


def rows(ran: Ran) -> list[list[str]]:
    """The cells of a plain table, which are two blanks or more apart."""
    assert (0, "") == (ran.code, ran.err)
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in ran.out.splitlines()]


def test_clusters(raftctl: Raftctl) -> None:
    assert [
        ["CLUSTER", "ALIAS", "PRIMARY", "SERVERS", "DOMAIN", "NO-LOSS", "FAILOVER"],
        ["db1.example:3306", "shop", "db1.example:3306", "3", "shop.example", "yes", "yes"],
    ] == rows(raftctl("clusters"))


def test_a_cluster_that_would_not_fail_over_says_why_before_its_primary_dies(raftctl: Raftctl, fleet: Fleet) -> None:
    fleet.dead = frozenset(key for key in fleet.state.servers if key.hostname == "db3.example")
    because = "possible ackers out of reach: db3.example:3306"
    ran = raftctl("clusters")
    assert ["no", "no"] == rows(ran)[1][-2:]
    assert ran.out.splitlines()[2:] == [
        f"shop: no-loss promise: no, because {because}",
        f"shop: an automatic failover would be refused now: acknowledged writes might be lost: {because}",
    ]
    (warning,) = [row for row in rows(raftctl("problems")) if row[2] == "NoLossPromiseStructureWarning"]
    assert because in warning


def test_nothing_to_list_says_what_to_do(raftctl: Raftctl, fleet: Fleet) -> None:
    fleet.state = replace(fleet.state, servers={}, clusters={}, recoveries={}, audit=())
    assert "no clusters are known: raftctl discover HOST:PORT\n" == raftctl("clusters").out
    assert "no clusters are known: raftctl discover HOST:PORT\n" == raftctl("topology").out
    assert "no recoveries are recorded\n" == raftctl("recoveries").out
    assert "the audit trail is empty here\n" == raftctl("audit").out


@pytest.mark.parametrize("named", [(), ("-c", "shop"), ("-i", "db2.example:3306"), ("-i", "db2.example")])
def test_topology_is_a_tree(raftctl: Raftctl, named: tuple[str, ...]) -> None:
    first, second, third = raftctl("topology", *named).out.splitlines()
    assert first.startswith("db1.example:3306 (one) [0s,ok,9.7.4,rw,")
    assert second.startswith("+ db2.example:3306     [0s,ok,9.7.4,ro,")
    assert third.startswith("+ db3.example:3306     [3s,ok,9.7.4,ro,")


def test_servers_with_their_marks(raftctl: Raftctl, fleet: Fleet) -> None:
    fleet.state = with_marks(fleet.state)
    _, first, second, third = rows(raftctl("servers"))
    assert ["db1.example:3306", "ok", "-", "9.7.4", "writable", "-", "-"] == first
    assert "downtime until 2026-11-23 03:10:00Z by bob: disk" == second[-1]
    assert "stale primary, quarantined, only it has uuid:9" == third[-1]


def test_one_server(raftctl: Raftctl, fleet: Fleet) -> None:
    lines = raftctl("instance", "db1.example").out.splitlines()
    assert "semi-sync       source, waits for 1, 2 connected" in lines
    assert "replicas        db2.example:3306, db3.example:3306" in lines
    fleet.dead = frozenset(fleet.state.servers)
    assert "state           out of reach: refused" in raftctl("instance", "db1.example").out.splitlines()


def test_problems_with_their_evidence(raftctl: Raftctl, fleet: Fleet) -> None:
    fleet.dead = frozenset(key for key in fleet.state.servers if key.hostname == "db1.example")
    ran = raftctl("problems", "-c", "shop")
    (problem,) = [row for row in rows(ran) if row[1] == "critical"]
    assert ["db1.example:3306", "critical", "UnreachableMaster"] == problem[:3]
    assert "still replicating from it: db2.example:3306, db3.example:3306" in problem[4]


def test_the_audit_trail(raftctl: Raftctl) -> None:
    assert ["2026-11-23 03:00:00Z", "discover", "db2.example:3306", "alice", "found"] == rows(raftctl("audit"))[1]


def test_recoveries_are_a_table_and_all_about_the_newest(raftctl: Raftctl) -> None:
    out = raftctl("recoveries", "shop").out.splitlines()
    assert ["7", "2026-11-23 02:59:00Z", "shop", "DeadMaster"] == [
        cell.strip() for cell in out[1].split("  ") if cell
    ][:4]  # fmt: skip
    text = "\n".join(out[2:])
    assert text == (
        "recovery 7 (r-7): DeadMaster of db0.example:3306, cluster shop: succeeded\n"
        "  The primary is dead\n"
        "  asked for by alice\n"
        "  held by n1 in term 4\n"
        "  timeline from 2026-11-23 02:58:59.900Z\n"
        "          0 ms        +0  noticed\n"
        "        100 ms      +100  confirmed\n"
        "        300 ms      +200  promoted  db1.example:3306\n"
        "        600 ms      +300  repointed  2 servers\n"
        "  not chosen:\n"
        "    db3.example:3306: lags 40 s behind\n"
        "  moved:\n"
        "    db2.example:3306\n"
        "    db3.example:3306\n"
        "  left behind:\n"
        "    db9.example:3306\n"
        "  errors:\n"
        "    PointTo db9.example:3306: refused"
    )


def test_recoveries_of_a_cluster_are_found_on_every_page(raftctl: Raftctl, fleet: Fleet) -> None:
    old = {f"o-{number}": replace(RECOVERY, id=f"o-{number}", number=number, cluster_id="c2") for number in range(45)}
    fleet.state = replace(fleet.state, recoveries={"r-7": RECOVERY, **old})
    ran = raftctl("--json", "recoveries", "list", "shop")
    assert ["r-7"] == [each["id"] for each in json.loads(ran.out)]
    assert 20 == len(json.loads(raftctl("recoveries", "list", "--json").out))


@pytest.mark.parametrize("asked", ["7", "r-7"])
def test_one_recovery_by_number_or_uid(raftctl: Raftctl, asked: str) -> None:
    assert raftctl("recoveries", "show", asked).out.startswith("recovery 7 (r-7): DeadMaster")


def test_a_recovery_that_does_not_exist_is_an_error(raftctl: Raftctl) -> None:
    assert Ran(1, "", "error: there is no recovery 99: raftctl recoveries lists them\n") == raftctl(
        "recoveries", "show", "99"
    )


def test_blocked_recoveries_say_why(raftctl: Raftctl) -> None:
    assert ["DeadMaster", "too recent"] == rows(raftctl("recoveries", "blocked"))[1][-2:]


WRITES = [
    ("discover db4", "discover", {"server": "db4:3306"}),
    ("discover [fd00::1]:3307", "discover", {"server": "[fd00::1]:3307"}),
    ("forget db2.example:3306", "forget", {"server": "db2.example:3306"}),
    ("failover shop", "force-master-failover", {"cluster": "shop", "careful": "True"}),
    (
        "failover shop --accept-loss", "force-master-failover",
        {"cluster": "shop", "careful": "True", "accept_loss": "True"},
    ),
    ("failover shop --force", "force-master-failover", {"cluster": "shop"}),
    ("failover shop --to db2", "force-master-failover", {"cluster": "shop", "target": "db2:3306", "careful": "True"}),
    ("failover shop --to db2 --force", "force-master-failover", {"cluster": "shop", "target": "db2:3306"}),
    ("takeover shop", "graceful-master-takeover-auto", {"cluster": "shop"}),
    ("takeover shop --to db2", "graceful-master-takeover-auto", {"cluster": "shop", "target": "db2:3306"}),
    ("set-read-only db2", "set-read-only", {"server": "db2:3306"}),
    ("set-writeable db2", "set-writeable", {"server": "db2:3306"}),
    ("start-replica db2", "start-replica", {"server": "db2:3306"}),
    ("stop-replica db2", "stop-replica", {"server": "db2:3306"}),
    ("ack 7 --comment done", "ack-recovery", {"id": "7", "comment": "done"}),
    ("ack -c shop --comment done", "ack-recovery-cluster", {"cluster": "shop", "comment": "done"}),
    ("ack --all --comment done", "ack-all-recoveries", {"comment": "done"}),
    ("recoveries disable", "disable-global-recoveries", {}),
    ("recoveries enable", "enable-global-recoveries", {}),
    ("downtime end db2", "end-downtime", {"server": "db2:3306"}),
    ("downtime begin db2 --reason disk --owner bob --duration 1h", "begin-downtime",
     {"server": "db2:3306", "owner": "bob", "reason": "disk", "duration": "3600"}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "operation", "arguments"), WRITES, ids=[line for line, _, _ in WRITES])
def test_a_write_asks_for_its_operation(
    raftctl: Raftctl, fleet: Fleet, line: str, operation: str, arguments: dict[str, str]
) -> None:
    assert Ran(0, f"{operation} done\n", "") == raftctl(*line.split())
    assert [(operation, arguments)] == fleet.asked


def test_who_did_it_is_recorded_where_nobody_says(raftctl: Raftctl, fleet: Fleet) -> None:
    raftctl("downtime", "begin", "db2", "--reason", "disk")
    raftctl("ack", "7")
    (_, begun), (_, acknowledged) = fleet.asked
    assert begun["owner"]
    assert f"acknowledged by {begun['owner']} with raftctl" == acknowledged["comment"]


def test_a_takeover_shows_its_recovery(raftctl: Raftctl, fleet: Fleet) -> None:
    fleet.answers["graceful-master-takeover-auto"] = lambda call: Reply(
        message="successor promoted", value=RECOVERY, moment=fleet.moment()
    )
    out = raftctl("takeover", "shop").out.splitlines()
    assert ["successor promoted", "recovery 7 (r-7): DeadMaster of db0.example:3306, cluster shop: succeeded"] == out[
        :2
    ]


def refusing(error: Exception) -> object:
    def answer(call: Call) -> Reply:
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "code"),
    [(Refused("nothing was\nchanged"), 1), (ServerError("db2 said no"), 1), (Unavailable("no leader is known"), 3)],
)
def test_what_a_node_refuses_is_one_line_and_a_code(
    raftctl: Raftctl, fleet: Fleet, error: Exception, code: int
) -> None:
    fleet.answers["takeover"] = fleet.answers["graceful-master-takeover-auto"] = refusing(error)  # type: ignore[assignment]
    assert Ran(code, "", f"error: {' '.join(str(error).split())}\n") == raftctl("takeover", "shop")


@pytest.mark.parametrize(
    "line",
    ["nonsense", "takeover", "discover host:port", "discover a/b:1", "ack", "ack 7 --all", "topology -i a -c b",
     "downtime begin db2", "--timeout 0 clusters", "clusters --nonsense", "discover db2:99999"],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_code_2_and_asks_nobody(raftctl: Raftctl, fleet: Fleet, line: str) -> None:
    ran = raftctl(*line.split())
    assert (2, "") == (ran.code, ran.out)
    assert ran.err.startswith("error: ")
    assert 1 == len(ran.err.splitlines())
    assert [] == fleet.calls


def test_an_unknown_server_is_refused_by_the_node(raftctl: Raftctl) -> None:
    line = "error: no server nonesuch:3306 is known: discover it first (raftctl discover nonesuch:3306)\n"
    assert Ran(1, "", line) == raftctl("instance", "nonesuch")


def test_no_node_is_code_3(run: Raftctl) -> None:
    ran = run("--api", f"http://127.0.0.1:{free_port()}", "clusters")
    assert (3, "") == (ran.code, ran.out)
    assert 1 == len(ran.err.splitlines())


@pytest.mark.parametrize("line", ["--json clusters", "clusters --json"])
def test_json_is_the_apis_own(raftctl: Raftctl, line: str) -> None:
    (cluster,) = json.loads(raftctl(*line.split()).out)
    assert ("c1", "shop", ["db1.example:3306", "db2.example:3306", "db3.example:3306"]) == (
        cluster["id"], cluster["alias"], cluster["members"],
    )  # fmt: skip


@pytest.mark.parametrize("variable", ["RAFTCTL_API", "ORCHESTRATOR_API"])
def test_nodes_may_come_from_the_environment(
    run: Raftctl, node: Node, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"{node.url}/api")
    assert 0 == run("clusters").code


def test_a_password_is_read_from_its_file(
    run: Raftctl, node: Node, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "password"
    assert "cannot be read: No such file" in run("--password-file", str(path), "clusters").err
    path.write_text("secret\n")
    assert 2 == run("--password", "x", "--password-file", str(path), "clusters").code
    assert 0 == run("--api", node.url, "--user", "me", "--password-file", str(path), "discover", "db4").code


TYPED = """
import sys
from orchestrator_raft.raftctl import main
sys.exit(main.run(sys.argv[1:]))
"""


def on_terminal(*arguments: str, typed: str = "", columns: int = 100) -> tuple[int, str]:
    """Run raftctl on a terminal of its own. Returns its code and everything that was seen."""
    master, terminal = pty.openpty()
    environ = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", TYPED, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env=environ
    )
    os.close(terminal)
    seen = b""
    asked = False
    while select.select([master], [], [], 30)[0]:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        seen += piece
        if typed and not asked and b"[y/N]" in seen:
            os.write(master, typed.encode())
            asked = True
    code = process.wait(30)
    os.close(master)
    return code, seen.decode()


@pytest.mark.parametrize("line", ["failover shop", "takeover shop", "forget db2.example:3306"])
def test_on_a_terminal_a_person_is_asked_first(node: Node, fleet: Fleet, line: str) -> None:
    code, seen = on_terminal("--api", node.url, *line.split(), typed="n\n")
    assert 1 == code
    assert "Go on? [y/N]" in seen
    assert "error: stopped: nothing was done" in seen
    assert [] == done(fleet)
    code, _ = on_terminal("--api", node.url, *line.split(), typed="y\n")
    assert (0, 1) == (code, len(done(fleet)))


def done(fleet: Fleet) -> list[Call]:
    """What was asked for in earnest, and not to see the plan."""
    return [call for call in fleet.calls if not call.flag("dry_run")]


def test_the_plan_is_shown_before_it_is_asked_and_alone_with_an_option(
    raftctl: Raftctl, node: Node, fleet: Fleet
) -> None:
    fleet.answers["relocate"] = lambda call: Reply(message="moved", value=PLAN if call.flag("dry_run") else None)
    line = ("relocate", "db2.example", "db3.example")
    said = [
        "db2 below db3 (by GTID)", "1. db2 below db3",
        "   db2.example:3306: replicate by GTID from db3.example:3306", "not: db1.example:3306: it is the primary",
        "beware: it is slow", "writes wait for up to 2 s",
    ]  # fmt: skip
    assert said == raftctl(*line, "--plan").out.splitlines()[1:]
    assert [] == done(fleet)
    code, seen = on_terminal("--api", node.url, *line, typed="n\n")
    assert 1 == code
    assert all(text in seen for text in said)
    assert [] == done(fleet)
    assert (0, "moved\n") == (raftctl(*line).code, raftctl(*line).out)
    assert 2 == len(done(fleet))


DB1, DB2, DB3 = (InstanceKey(f"db{number}.example", 3306) for number in (1, 2, 3))
MOVE = Act(verb=Verb.POINT, key=DB2, source=DB3)
PLAN = Plan(
    text="db2 below db3", how="GTID", stages=(Stage(text="db2 below db3", acts=(MOVE,)),), warnings=("it is slow",),
    left_out=(LeftOut(key=DB1, reason="it is the primary"),), block_s=2.0,
)  # fmt: skip


@pytest.mark.parametrize("line", ["--yes takeover shop", "takeover shop --yes", "discover db4"])
def test_who_has_said_yes_and_who_destroys_nothing_is_not_asked(node: Node, fleet: Fleet, line: str) -> None:
    code, seen = on_terminal("--api", node.url, *line.split())
    assert (0, 1) == (code, len(fleet.calls))
    assert "Go on?" not in seen


def test_on_a_terminal_tables_are_drawn_and_fit(node: Node) -> None:
    code, seen = on_terminal("--api", node.url, "clusters", columns=60)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", seen).splitlines()
    assert 0 == code
    assert any("───" in line for line in lines)
    assert any(line.split()[0:1] == ["CLUSTER"] for line in lines)
    assert max(len(line) for line in lines) <= 60


def test_elsewhere_tables_are_never_folded(node: Node) -> None:
    run = run_process("--api", node.url, "servers", env={**os.environ, "COLUMNS": "20", "FORCE_COLOR": "1"})
    assert 4 == len(run.stdout.splitlines())
    assert "\x1b" not in run.stdout


def test_names_of_servers_cannot_steer_the_terminal(node: Node, fleet: Fleet) -> None:
    state = healthy_state()
    hostile = replace(state.clusters["c1"], alias="\x1b[31mred\x07[bold]x[/bold]")
    fleet.state = replace(state, clusters={"c1": hostile})
    _, seen = on_terminal("--api", node.url, "clusters", columns=160)
    assert "?[31mred?[bold]x[/bold]" in seen
    assert "\x1b[31m" not in seen


def test_a_reader_that_has_enough_is_no_error(node: Node) -> None:
    command = f"'{sys.executable}' -m orchestrator_raft.raftctl --api {node.url} servers | head -n 0; echo done >&2"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ("", "done\n") == (run.stdout, run.stderr)

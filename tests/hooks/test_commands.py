"""The *Processes lists, run by real shells: order, failures, time, output, the background."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_raft.core.instance import Binlog, Coordinates, Facts, Flavor
from orchestrator_raft.hooks.shell import OUTPUT_MAX
from orchestrator_raft.ports import HookReport
from tests.hooks.story import FAILED, PROMOTED, RECOVERY, REPLICAS, Bench, MakeBench

LIST = "PreFailoverProcesses"
SUCCESSOR_FACTS = Facts(
    key=REPLICAS[0],
    flavor=Flavor.MYSQL,
    version="9.7.4",
    alias="two",
    binlog=Binlog(coordinates=Coordinates("bin.000007", 154)),
)


async def run(bench: Bench, *, fail_stop: bool = False, timeout_s: float = 20.0) -> HookReport:
    return await bench.hooks.run(LIST, RECOVERY, fail_stop=fail_stop, timeout_s=timeout_s)


def is_alive(pid: int) -> bool:
    """It runs; a zombie that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


async def test_a_list_that_nobody_configured_is_done_at_once(make_bench: MakeBench) -> None:
    assert HookReport(ok=True, detail="", commands=0) == await run(make_bench({}))


async def test_commands_run_in_order_with_placeholders_and_environment(make_bench: MakeBench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bench = make_bench(
        {
            LIST: [
                f"echo one {{failureType}} {{failedHost}}:{{failedPort}} {{successorHost}} >> {out}",
                f"echo two $ORC_FAILURE_CLUSTER_ALIAS ${{ORC_SUCCESSOR_HOST:-none}} $KEPT >> {out}",
            ]
        },
        environ={**os.environ, "KEPT": "kept"},
    )
    assert HookReport(ok=True, detail="", commands=2) == await run(bench)
    assert "one DeadMaster db1.example:3306 {successorHost}\ntwo shop none kept\n" == out.read_text()


async def test_the_successor_is_told_with_alias_and_position(make_bench: MakeBench) -> None:
    command = "echo {successorHost} {successorAlias} {successorBinlogCoordinates} {orchestratorHost} $ORC_IS_SUCCESSFUL"
    bench = make_bench({LIST: [command]}, facts_of={REPLICAS[0]: SUCCESSOR_FACTS}.get, orchestrator_host="m1")
    report = await bench.hooks.run(LIST, PROMOTED, fail_stop=False, timeout_s=20)
    assert f"{LIST} 1 of 1: db2.example two bin.000007:154 m1 true" == report.detail


async def test_a_successor_without_known_facts_is_told_by_address_alone(make_bench: MakeBench) -> None:
    bench = make_bench({LIST: ["echo {successorHost}:{successorPort}[{successorAlias}]"]})
    report = await bench.hooks.run(LIST, PROMOTED, fail_stop=False, timeout_s=20)
    assert f"{LIST} 1 of 1: db2.example:3306[]" == report.detail


async def test_the_first_failure_ends_a_fail_stop_list(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench({LIST: ["echo why >&2; exit 3", f"touch {tmp_path}/reached"]})
    report = await run(bench, fail_stop=True)
    assert (False, 1) == (report.ok, report.commands)
    assert report.detail.startswith(f"{LIST} 1 of 2: exit code 3, ")
    assert report.detail.endswith(": why")
    assert not (tmp_path / "reached").exists()


async def test_other_lists_go_on_and_tell_failures_first(make_bench: MakeBench) -> None:
    report = await run(make_bench({LIST: ["echo fine", "exit 1", "kill -9 $$"]}))
    assert (False, 3) == (report.ok, report.commands)
    first, second, third = report.detail.splitlines()
    assert first.startswith(f"{LIST} 2 of 3: exit code 1, ")
    assert second.startswith(f"{LIST} 3 of 3: killed by signal 9, ")
    assert f"{LIST} 1 of 3: fine" == third


async def test_a_missing_program_is_named_by_the_shell_and_hinted_at(make_bench: MakeBench) -> None:
    report = await run(make_bench({LIST: ["no-such-program-here --token=secret"]}))
    assert "exit code 127 (a program it needs was not found)" in report.detail
    assert "no-such-program-here: command not found" in report.detail
    assert "secret" not in report.detail


async def test_a_missing_shell_is_a_failure_like_any_other(make_bench: MakeBench) -> None:
    report = await run(make_bench({LIST: ["true"]}, shell="no-such-shell"))
    assert not report.ok
    assert f"{LIST} 1 of 1: could not be started with no-such-shell: " in report.detail


async def test_a_command_too_long_for_the_system_is_a_failure_like_any_other(make_bench: MakeBench) -> None:
    report = await run(make_bench({LIST: [f"true {'x' * 200_000}"]}))
    assert not report.ok
    assert "could not be started with bash" in report.detail
    assert len(report.detail) < 1000


async def test_another_shell_of_the_configuration_is_used(make_bench: MakeBench) -> None:
    report = await run(make_bench({LIST: ["print('{failedHost}', 6 * 7)"]}, shell="python3"))
    assert f"{LIST} 1 of 1: db1.example 42" == report.detail


async def test_a_command_reads_nothing_from_the_node(make_bench: MakeBench) -> None:
    assert f"{LIST} 1 of 1: 0" == (await run(make_bench({LIST: ["cat | wc -c"]}))).detail


async def test_of_big_output_the_end_is_kept(make_bench: MakeBench) -> None:
    report = await run(make_bench({LIST: ["yes 0123456789 | head -c 30000000; printf '\\033[31mthe\\r end\\0'"]}))
    assert report.ok
    assert f"{LIST} 1 of 1: ({30_000_000 + 14 - OUTPUT_MAX} bytes left out) " in report.detail
    assert report.detail.endswith("[31mthe end")
    assert len(report.detail) < OUTPUT_MAX + 100


async def test_at_the_timeout_everything_the_command_started_is_killed(make_bench: MakeBench, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = f"echo begun; (trap '' TERM; sleep 600 & echo $! >> {pids}; wait) & echo $$ $! >> {pids}; wait"
    report = await run(make_bench({LIST: [command, "echo next"]}, command_timeout_s=1.0))
    assert (False, 2) == (report.ok, report.commands)
    first, second = report.detail.splitlines()
    assert first.startswith(f"{LIST} 1 of 2: not done within 1 s, so it was killed with all it had started, ")
    assert first.endswith(": begun")
    assert f"{LIST} 2 of 2: next" == second
    started = [int(pid) for pid in pids.read_text().split()]
    assert 3 == len(started)
    await until(lambda: not any(is_alive(pid) for pid in started))


async def test_the_time_of_the_list_bounds_its_commands(make_bench: MakeBench) -> None:
    report = await run(make_bench({LIST: ["sleep 600", "sleep 600"]}, command_timeout_s=500), timeout_s=0.3)
    first, second = report.detail.splitlines()
    assert "not done within 0." in first and "so it was killed" in first
    assert f"{LIST} 2 of 2: not started: the time of the list is over, 0 ms" == second


async def test_a_daemon_that_a_command_leaves_behind_holds_nobody_up(make_bench: MakeBench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    report = await run(make_bench({LIST: [f"sleep 600 & echo $! > {pid_file}; echo done"]}, command_timeout_s=60))
    assert HookReport(ok=True, detail=f"{LIST} 1 of 1: done", commands=1) == report
    pid = int(pid_file.read_text())
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_a_cancelled_list_leaves_nothing_running(make_bench: MakeBench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    bench = make_bench({LIST: [f"sleep 600 & echo $! > {pid_file}; wait"]})
    task = bench.tasks.start("hook", run(bench))
    await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not is_alive(int(pid_file.read_text())))


async def test_a_command_with_an_ampersand_is_not_waited_for(make_bench: MakeBench, tmp_path: Path) -> None:
    release, done = tmp_path / "release", tmp_path / "done"
    command = f"while [ ! -e {release} ]; do sleep 0.01; done; echo $ORC_RECOVERY_UID {{failedHost}} > {done} & "
    bench = make_bench({LIST: [command, "echo second"]})
    report = await run(bench, fail_stop=True)
    assert f"{LIST} 1 of 2: started in the background\n{LIST} 2 of 2: second" == report.detail
    assert "1 in the background" in repr(bench.hooks)
    assert not done.exists()
    release.touch()
    await until(lambda: len(bench.tasks) == 0)
    assert "r-7 db1.example\n" == done.read_text()
    assert [] == bench.audited


async def test_what_goes_wrong_in_the_background_is_audited(make_bench: MakeBench) -> None:
    bench = make_bench({LIST: ["echo no; exit 5 &"]})
    assert (await run(bench, fail_stop=True)).ok
    await until(lambda: len(bench.tasks) == 0)
    ((key, text),) = bench.audited
    assert key == FAILED
    assert text.startswith(f"hook {LIST} 1 of 1: exit code 5, ")
    assert text.endswith(": no (recovery r-7)")


async def test_the_background_is_bounded_in_time(make_bench: MakeBench) -> None:
    bench = make_bench({LIST: ["sleep 600 &"]}, background_timeout_s=0.2)
    assert (await run(bench)).ok
    await until(lambda: bool(bench.audited))
    assert "not done within 0.2 s" in bench.audited[0][1]


async def test_the_background_is_bounded_in_number(make_bench: MakeBench) -> None:
    bench = make_bench({LIST: ["sleep 600 &"] * 4}, background_max=3)
    report = await run(bench)
    assert not report.ok
    assert report.detail.startswith(
        f"{LIST} 4 of 4: not started: 3 commands are running in the background already, 0 ms\n"
    )


async def test_the_background_ends_with_its_owner(make_bench: MakeBench, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    bench = make_bench({LIST: [f"sleep 600 & echo $! > {pid_file}; wait &"]})
    await run(bench)
    await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    await bench.tasks.close()
    await until(lambda: not is_alive(int(pid_file.read_text())))


async def test_the_take_master_list_gets_both_servers_as_arguments(make_bench: MakeBench) -> None:
    bench = make_bench(
        {"PostTakeMasterProcesses": ['echo "$1" "$2" $ORC_SUCCESSOR_HOST $ORC_FAILED_HOST {failedHost}']}
    )
    report = await bench.hooks.run("PostTakeMasterProcesses", PROMOTED, fail_stop=False, timeout_s=20)
    both = "db2.example:3306 db1.example:3306"
    assert f"PostTakeMasterProcesses 1 of 1: {both} {both} {{failedHost}}" == report.detail


async def test_a_hostile_alias_reaches_a_hook_raw_only_by_its_environment(make_bench: MakeBench) -> None:
    subject = replace(RECOVERY.subject, cluster_alias="$(echo ran)'; echo ran; '")
    bench = make_bench({LIST: ["echo {failureClusterAlias}; printenv ORC_FAILURE_CLUSTER_ALIAS"]})
    report = await bench.hooks.run(LIST, replace(RECOVERY, subject=subject), fail_stop=False, timeout_s=20)
    assert f"{LIST} 1 of 1: __echo ran__, echo ran, _\n$(echo ran)'; echo ran; '" == report.detail

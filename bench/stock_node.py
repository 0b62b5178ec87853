"""The same node on the stock PySyncObj: its own transport, journal file, thread and timing, as it comes.

It speaks the protocol of ``bench.raft_node``. Its proposers are callbacks that propose the next command in the
library's own thread, the fastest way to use it. What it calls leader is told as ``leads``: it has no lease, so that is
less than our authority. Nothing of ours touches the library here. ``eager`` turns ``appendEntriesUseBatch`` off: then
a command does not wait for the next tick.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated

from bench.raft_machine import PAYLOAD

LOAD_TIMEOUT_S = 120.0
RETRY_S = 0.05
REDIAL_S = 0.5
"""Its 5 s between dials would only make the bench longer: nothing that is measured happens in them."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a node is told on its command line."""

    directory: str
    bind: str
    nodes: list[str]
    eager: bool = False

    def text(self) -> str:
        return json.dumps(asdict(self))


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


class Tally(SyncObj):  # type: ignore[misc]
    """Counts each command once."""

    def __init__(self, orders: Orders) -> None:
        directory = Path(orders.directory)
        directory.mkdir(parents=True, exist_ok=True)
        conf = SyncObjConf(
            journalFile=str(directory / "journal"),
            fullDumpFile=str(directory / "dump"),
            connectionRetryTime=REDIAL_S,
            appendEntriesUseBatch=not orders.eager,
            onStateChanged=self._state_changed,
        )
        super().__init__(orders.bind, [node for node in orders.nodes if node != orders.bind], conf)
        self.total = 0
        self.newest: dict[str, int] = {}

    @staticmethod
    def _state_changed(before: int, after: int) -> None:
        del before
        if after == 2:
            tell(leads=0, at=time.clock_gettime(time.CLOCK_BOOTTIME))

    @replicated  # type: ignore[untyped-decorator]
    def put(self, command_id: str, payload: str) -> int:
        del payload
        proposer, _, number = command_id.rpartition("/")
        if int(number) > self.newest.get(proposer, 0):
            self.newest[proposer] = int(number)
            self.total += 1
        return self.total


class Load:
    """``proposers`` at once, each proposing again when its answer has come."""

    def __init__(self, tally: Tally, *, proposers: int, seconds: float, commands: int, run: str) -> None:
        self._tally = tally
        self._seconds, self._commands, self._run = seconds, commands, run
        self._numbers = itertools.count(1)
        self._running = proposers
        self._done = threading.Event()
        self._begun_s = time.perf_counter()
        self._latencies_ms: list[float] = []
        for name in range(proposers):
            self._next(str(name), 1)

    def result(self) -> dict[str, Any]:
        if not self._done.wait(LOAD_TIMEOUT_S):
            raise TimeoutError(f"the load has not ended after {LOAD_TIMEOUT_S:g} s")
        return {"seconds": time.perf_counter() - self._begun_s, "latencies_ms": self._latencies_ms}

    def _next(self, name: str, number: int) -> None:
        count, elapsed_s = next(self._numbers), time.perf_counter() - self._begun_s
        if (self._commands and count > self._commands) or (self._seconds and elapsed_s > self._seconds):
            self._running -= 1
            if not self._running:
                self._done.set()
            return
        self._propose(name, number, time.perf_counter())

    def _propose(self, name: str, number: int, asked_s: float) -> None:
        def answered(result: Any, error: int) -> None:
            del result
            if error != FAIL_REASON.SUCCESS:
                threading.Timer(RETRY_S, self._propose, (name, number, asked_s)).start()
                return
            self._latencies_ms.append((time.perf_counter() - asked_s) * 1000)
            self._next(name, number + 1)

        self._tally.put(f"{self._run}-{name}/{number}", PAYLOAD, callback=answered)


def serve(orders: Orders) -> None:
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    tally = Tally(orders)
    started_s = time.perf_counter() - begun_s
    tell(ready=started_s, at=time.clock_gettime(time.CLOCK_BOOTTIME), cpu=time.process_time() - cpu_s)
    for line in sys.stdin:
        match json.loads(line):
            case {"load": wanted}:
                tell(load=Load(tally, **wanted).result())
            case {"status": _}:
                tell(status={"applied": tally.raftLastApplied, "servers": 0})
    tally.destroy()


if __name__ == "__main__":
    serve(Orders(**json.loads(sys.argv[1])))

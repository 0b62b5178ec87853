"""The only file that touches PySyncObj, and every place where we stand in for a private part of it (design D5).

What the library is left to do: term and vote, counting votes, the commit rule, the order of applying. What it never
sees: the network (it is given checked messages one at a time), the disk (our journal), time (our clock), pickle (our
own codec stands under that name), a snapshot's bytes, an append that would cut what matches, an ack beyond our disk.

Each private name stands in ``PRIVATE`` or is replaced in ``_install``; ``selftest.py`` drives throw-away libraries
through all of them and refuses to start on any other behaviour, with the version that was found.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgpack
import pysyncobj.syncobj as library_module
from pysyncobj import SyncObj, SyncObjConf, replicated
from pysyncobj.config import SERIALIZER_STATE
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from orchestrator_raft.raft.appends import Append, Entry
from orchestrator_raft.raft.clock import Clock, boot_time_s
from orchestrator_raft.raft.settings import Timing

OLDEST, BELOW = (0, 3, 17), (0, 4)
INSTALLED_VERSION: str = VERSION
FAR = 2**60
"""Seconds or entries that are never reached."""
_COMMAND = b"\x00"
_MEMBERSHIP = b"\x01"
DEADLINE, SERIALIZER, LOAD = "_SyncObj__raftElectionDeadline", "_SyncObj__serializer", "_SyncObj__loadDumpFile"
OTHERS, NEXT, MATCH = "_SyncObj__otherNodes", "_SyncObj__raftNextIndex", "_SyncObj__raftMatchIndex"
ANSWERED = "_SyncObj__lastResponseTime"
PRIVATE = (DEADLINE, SERIALIZER, LOAD, OTHERS, NEXT, MATCH, ANSWERED, "_getLeader", "_isLeader")

Send = Callable[[str, Mapping[str, Any]], None]
Apply = Callable[[int, bytes], None]


class Slot(Node):  # type: ignore[misc]
    """A member. Its hash does not depend on the process, so that the library's sets have one order in every run."""

    def __hash__(self) -> int:
        return zlib.crc32(str(self.id).encode())


NOBODY = Slot("")
"""A member that never answers, beside a node that does not vote itself: the library counts every node for itself, and
with one member more a majority is as many *others* as it has to be: 1 + v > (n + 2) / 2 where v > n / 2."""


class _Codec:
    """Stands where the library says ``pickle``. Commands are bytes already; a membership change is two texts."""

    @staticmethod
    def dumps(value: Any, protocol: int | None = None) -> bytes:
        del protocol
        if isinstance(value, tuple) and len(value) == 2 and value[0] == 0:
            return _COMMAND + bytes(value[1][0])
        if isinstance(value, list) and value[0] in ("add", "rem"):
            packed: bytes = msgpack.packb([value[0], str(value[1])])
            return _MEMBERSHIP + packed
        raise TypeError(f"PySyncObj asked to encode a {type(value).__name__}, which it never does in our use")

    @staticmethod
    def loads(data: bytes) -> Any:
        kind, body = data[:1], data[1:]
        if kind == _COMMAND:
            return 0, (body,)
        if kind == _MEMBERSHIP:
            return list(msgpack.unpackb(body))
        raise ValueError(f"an entry of kind {kind!r} is none of ours")

    @staticmethod
    def to_bytes(data: Any) -> bytes:
        return bytes(data)


class _LibraryClock:
    """The library has one clock per process; several nodes in one process (tests) set it before they call."""

    now: Clock = staticmethod(boot_time_s)

    def __call__(self) -> float:
        return type(self).now()


_STOCK = {name: getattr(library_module, name, None) for name in ("pickle", "createJournal", "monotonicTime")}


def _create_journal(journal: Any) -> Any:
    """``conf.journalFile`` is our journal itself; anything else is the library's own business."""
    stock: Any = _STOCK["createJournal"]
    return stock(journal) if journal is None or isinstance(journal, str) else journal


def _install() -> None:
    library_module.pickle = _Codec
    library_module.createJournal = _create_journal
    library_module.monotonicTime = _LibraryClock()
    library_module.PIPE_NOTIFIER_ENABLED = False


class _Transport(Transport):  # type: ignore[misc]
    """Where the library sends. What it says about the network is always: ready."""

    def __init__(self, send: Send) -> None:
        super().__init__(None, None, [])
        self._send = send

    def send(self, node: Slot, message: Mapping[str, Any]) -> bool:
        if node is not NOBODY:
            self._send(node.id, message)
        return True

    def received(self, node: Slot, message: Mapping[str, Any]) -> None:
        self._onMessageReceived(node, message)

    def connection(self, node: Slot, is_up: bool) -> None:
        (self._onNodeConnected if is_up else self._onNodeDisconnected)(node)


class Snapshots:
    """What the library sees of snapshots. The owner replaces ``take`` and ``state_of`` with what they really do.

    A snapshot's bytes never pass through the library: sending one is a poke to the owner, and receiving one means that
    the owner has already checked it and put it in ``incoming``.
    """

    def __init__(self) -> None:
        self.take: Callable[[Entry, Entry], None] = lambda _previous, _last: None
        self.is_saved: Callable[[], bool] = lambda: False
        self.restore: Callable[[], tuple[Entry, Entry]] = lambda: ((b"", 0, 0), (b"", 0, 0))
        self.failure: Exception | None = None
        """Why the last restore failed; the library only logs it."""
        self._taking: int | None = None

    def serialize(self, data: tuple[Any, Entry, Entry, Any], number: int) -> None:
        _, last, previous, _ = data
        self._taking = number
        self.take(previous, last)

    def checkSerializing(self) -> tuple[int, int | None]:
        if self._taking is None:
            return SERIALIZER_STATE.NOT_SERIALIZING, None
        if not self.is_saved():
            return SERIALIZER_STATE.SERIALIZING, self._taking
        taken, self._taking = self._taking, None
        return SERIALIZER_STATE.SUCCESS, taken

    def deserialize(self) -> tuple[None, Entry, Entry, list[Slot]]:
        self.failure = None
        try:
            previous, last = self.restore()
        except Exception as error:
            self.failure = error
            raise
        return None, last, previous, []

    def getTransmissionData(self, node: Slot) -> tuple[bytes, bool, bool]:
        """Never None, on which the library would spin: one empty, first and last piece."""
        del node
        return b"", True, True

    def setTransmissionData(self, data: Any) -> bool:
        del data
        return True

    def cancelTransmisstion(self, node: Slot) -> None:
        """There is nothing to cancel."""


class _Machine(SyncObj):  # type: ignore[misc]
    """The library's object. Its one replicated method has number 0, which ``_Codec`` relies on."""

    applied: Apply

    @replicated  # type: ignore[untyped-decorator]
    def command(self, data: bytes) -> None:
        self.applied(self.raftLastApplied + 1, data)


class Library:
    """PySyncObj as the rest of this package knows it. Every call may call ``send`` and ``apply`` before it returns."""

    def __init__(self, me: str, others: Sequence[str], *, timing: Timing, journal: Any, snapshots: Snapshots,
                 send: Send, apply: Apply, clock: Clock) -> None:  # fmt: skip
        _install()
        self._clock = clock
        self._set_clock()
        self._transport = _Transport(send)
        self._conf = _conf(timing, journal)
        self._snapshots = snapshots
        self._journal = journal
        self._known: dict[str, Slot] = {}
        self._machine = _Machine(Slot(me), [self._slot(other) for other in others], self._conf,
                                 transport=self._transport)  # fmt: skip
        self._machine.applied = apply
        setattr(self._machine, SERIALIZER, snapshots)

    def _set_clock(self) -> None:
        _LibraryClock.now = self._clock

    # reading

    @property
    def is_leader(self) -> bool:
        return bool(self._machine._isLeader())

    @property
    def leader(self) -> str | None:
        leader = self._machine._getLeader()
        return None if leader is None else str(leader.id)

    @property
    def term(self) -> int:
        return int(self._machine.raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        return int(self._machine.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._machine.raftLastApplied)

    # steering

    def tick(self) -> None:
        self._set_clock()
        self._machine.doTick(0)

    def connection(self, slot: str, is_up: bool) -> None:
        self._transport.connection(self._slot(slot), is_up)

    def set_voters(self, others: Collection[str], *, votes: bool = True) -> None:
        """From now on elections and commits count these, and this node itself if it ``votes``. What a new one has is
        not known yet."""
        voters = {self._slot(other) for other in others} | (set() if votes else {NOBODY})
        for name, of_new in ((NEXT, self._journal.last_index + 1), (MATCH, 0), (ANSWERED, self._clock())):
            told = getattr(self._machine, name)
            for gone in told.keys() - voters:
                del told[gone]
            for new in voters - told.keys():
                told[new] = of_new
        setattr(self._machine, OTHERS, voters)

    def submit(self, command: bytes) -> None:
        """For a leader: the next tick appends it."""
        self._machine.command(command)

    def restore(self, index: int) -> None:
        """Start from the snapshot that ``Snapshots.restore`` gives. Raises what that raises, or RuntimeError."""
        self._set_clock()
        getattr(self._machine, LOAD)(False)
        self._check_restored(index)

    def _check_restored(self, index: int) -> None:
        if self._snapshots.failure is not None:
            raise self._snapshots.failure
        if self.applied_index != index:
            raise RuntimeError(f"PySyncObj did not take the snapshot {index}, it stands at {self.applied_index}")

    def compact(self) -> None:
        self._machine.forceLogCompaction()

    @property
    def election_deadline_s(self) -> float:
        return float(getattr(self._machine, DEADLINE))

    @election_deadline_s.setter
    def election_deadline_s(self, at_s: float) -> None:
        setattr(self._machine, DEADLINE, at_s)

    def step_down(self) -> None:
        """One tick in which the library finds that nobody answers."""
        kept, self._conf.leaderFallbackTimeout = self._conf.leaderFallbackTimeout, -FAR
        self.tick()
        self._conf.leaderFallbackTimeout = kept

    def adopt_term(self, sender: str, term: int) -> None:
        """Enter a higher term without voting: a vote request whose log is worse than any."""
        self._receive(sender, {"type": "request_vote", "term": term, "last_log_index": 0, "last_log_term": -1})

    # messages

    def append(self, sender: str, term: int, shown: Append) -> None:
        message = {"type": "append_entries", "term": term, "commit_index": shown.commit_index}
        message |= {"entries": list(shown.entries), "prevLogIdx": shown.prev_index, "prevLogTerm": shown.prev_term}
        self._receive(sender, message)

    def install(self, sender: str, term: int, index: int) -> None:
        """Take the snapshot that ``Snapshots.restore`` gives in place of the whole log."""
        message = {"type": "append_entries", "term": term, "commit_index": index, "serialized": True}
        self._receive(sender, message)
        self._check_restored(index)

    def vote_request(self, sender: str, term: int, last_index: int, last_term: int) -> None:
        message = {"type": "request_vote", "term": term, "last_log_index": last_index, "last_log_term": last_term}
        self._receive(sender, message)

    def vote(self, sender: str, term: int) -> None:
        self._receive(sender, {"type": "response_vote", "term": term})

    def matched(self, sender: str, index: int) -> None:
        """``sender`` has everything up to ``index`` on disk."""
        message = {"type": "next_node_idx", "next_node_idx": index + 1, "reset": False, "success": True}
        self._receive(sender, message)

    def _receive(self, sender: str, message: Mapping[str, Any]) -> None:
        self._set_clock()
        self._transport.received(self._slot(sender), message)

    def _slot(self, name: str) -> Slot:
        return self._known.setdefault(name, Slot(name))

    def close(self) -> None:
        self._machine.destroy()


def _conf(timing: Timing, journal: Any) -> Any:
    """Heartbeats by the library's period; everything else about sending, quorum and compaction is ours."""
    return SyncObjConf(
        autoTick=False,
        raftMinTimeout=timing.election_min_s,
        raftMaxTimeout=timing.election_max_s,
        appendEntriesPeriod=timing.heartbeat_s,
        connectionTimeout=max(3.5, timing.election_max_s),
        leaderFallbackTimeout=float(FAR),
        appendEntriesUseBatch=True,
        appendEntriesBatchSizeBytes=2**31,
        commandsWaitLeader=False,
        dynamicMembershipChange=False,
        journalFile=journal,
        useFork=False,
        dnsCacheTime=1.0,
        logCompactionMinEntries=FAR,
        logCompactionMinTime=FAR,
        pollerType="select",
    )

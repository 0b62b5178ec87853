"""What the engine needs from the outside, as Protocols; the composition root plugs in the adapters.

Rules: a port is a handful of verbs; expected failures come back as values or as the error types of ``core.errors``;
every verb that waits takes a deadline. Each port has an in-memory twin in ``tests/engine``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator_raft.core.instance import InstanceKey, ProbeResult, Unreachable
from orchestrator_raft.core.recovery.model import Recovery
from orchestrator_raft.core.recovery.salvage import Salvage
from orchestrator_raft.core.replicated import Command, Result, State
from orchestrator_raft.core.replicated.publications import Published
from orchestrator_raft.core.topology import SavedTransactions

Row = Mapping[str, Any]
Rows = Sequence[Row]


class Clock(Protocol):
    """The only source of time for the engine."""

    def monotonic_s(self) -> float:
        """Seconds that never run back and go on while the machine sleeps."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, for commands and for people."""

    async def sleep(self, seconds: float) -> None: ...


class Prober(Protocol):
    """Reads servers: one persistent connection each, one round trip a probe."""

    async def probe(self, key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        """Facts, or why there are none. Never raises for what a server does; never takes longer than the deadline."""

    async def try_connect(self, key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
        """A new connection, one trivial query, closed again: what a witness does. None when the server answered."""

    def on_closed(self, listener: Callable[[InstanceKey], None]) -> None:
        """Have ``listener`` called as soon as a server closes its connection: a crash is noticed in milliseconds."""

    def forget(self, key: InstanceKey) -> None:
        """Close the connection to a server that is no longer watched."""

    async def close(self) -> None: ...


class Writer(Protocol):
    """Tries to write, to learn whether a server still can."""

    async def try_write(self, key: InstanceKey, *, timeout_s: float) -> str | None:
        """Why the write failed or did not end in time; '' when it was done; None when it could not even be asked."""


class Salvager(Protocol):
    """Saves transactions that only one server has."""

    async def save(self, wanted: Salvage, *, timeout_s: float) -> SavedTransactions:
        """Where they were saved on this node, or in one line why not. Never raises for what a server does."""


class Session(Protocol):
    """The one acting session on a server: it holds the lock ``orchestrator_raft`` there and never reconnects."""

    @property
    def key(self) -> InstanceKey: ...

    async def query(self, sql: str, *, timeout_s: float, masked: str | None = None) -> Rows:
        """Rows of one statement. Raises ServerError naming server and statement (``masked`` where it has secrets)."""


class Sessions(Protocol):
    """Opens acting sessions."""

    def acting(
        self, key: InstanceKey, *, timeout_s: float, before_kill: Callable[[], None]
    ) -> AbstractAsyncContextManager[Session]:
        """Connect, kill whoever holds the lock there (a deposed leader's late session), take it; release at the end.

        ``before_kill`` is called right before each kill and raises if this node may not act any more.
        """


@dataclass(frozen=True, slots=True)
class Credentials:
    """The replication account. Never logged, never replicated."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"<Credentials of {self.user}>"


@dataclass(frozen=True, slots=True)
class Authority:
    """The right to act: held while ``until_s`` (monotonic) has not passed; ``term`` is the fencing token."""

    term: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, as this one sees it."""

    node_id: str
    connected: bool


class Consensus(Protocol):
    """The replicated log as the engine sees it."""

    @property
    def node_id(self) -> str: ...

    @property
    def state(self) -> State:
        """The newest applied state; immutable."""

    async def propose(self, command: Command, *, timeout_s: float) -> Result:
        """The result once committed and applied here. Raises Unavailable when the outcome is not known in time."""

    async def barrier(self, *, timeout_s: float) -> None:
        """Returns when this node has applied everything that was committed when it was called."""

    def authority(self) -> Authority | None:
        """Live authority, or None. Ask again right before every act."""

    def leader(self) -> str | None: ...

    def peers(self) -> Sequence[Peer]: ...

    def changes(self) -> AsyncIterator[None]:
        """Yields whenever state, leader or authority may have changed; coalesced, never a backlog."""


class RaftAdmin(Protocol):
    """What people may ask of the Raft cluster itself."""

    @property
    def is_enabled(self) -> bool:
        """False for a single node that was not set up with Raft."""

    def addresses(self) -> Mapping[str, str]:
        """The Raft address of each member, by node id."""

    async def overview(self) -> Mapping[str, Any]:
        """Every member as it sees itself, or why it does not answer; plain values. Waits a bounded time."""

    async def transfer(self, node_id: str | None) -> str:
        """Hand this node's leadership to that node, or to whoever has most; gives the new leader's id.

        Raises InvalidInput for an unknown node, Refused where it cannot be, Unavailable when nobody took over in time.
        """

    def members(self) -> Sequence[Mapping[str, Any]]:
        """Each member as this node has it: id, address, votes, note, connection; plain values."""

    async def add_member(self, address: str) -> str:
        """Take the node at ``address`` in; gives its id once it is committed as a learner.

        This and the next two raise InvalidInput or Refused with the reason, Unavailable when time ran out.
        """

    async def remove_member(self, node_id: str) -> None:
        """Take a member out."""

    async def replace_member(self, node_id: str, address: str) -> str:
        """Take the node at ``address`` in and, when it votes, that member out."""

    async def snapshot(self) -> int:
        """Save what is applied here and trim the journal; gives the index. Raises Unavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """The configuration was read again: keys that count anew from now on, and changed ones that need a restart."""

    files: tuple[str, ...]
    changed: tuple[str, ...] = ()
    need_restart: tuple[str, ...] = ()


Handler = Callable[[str, bytes], Awaitable[bytes]]


class Channel(Protocol):
    """The nodes' own authenticated connections."""

    def serve(self, method: str, handler: Handler) -> None:
        """Answer calls of ``method``; the handler gets the calling node's id and the payload."""

    async def call(self, node_id: str, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        """One question, one answer. Raises Unavailable when the node is not connected or does not answer in time."""


@dataclass(frozen=True, slots=True)
class HookReport:
    """What became of one list of hook commands."""

    ok: bool
    detail: str
    commands: int


@dataclass(frozen=True, slots=True)
class HookPreview:
    """One hook as it would be run: its name for people, and its text with the placeholders filled."""

    label: str
    text: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Hooks(Protocol):
    """Runs the *Processes lists."""

    async def run(
        self, name: str, recovery: Recovery, *, fail_stop: bool, timeout_s: float, is_drill: bool = False
    ) -> HookReport:
        """Run a list; the first failure ends one that is ``fail_stop``. A drill is a person's, and nothing happened."""

    def preview(self, name: str, recovery: Recovery) -> tuple[HookPreview, ...]:
        """What a drill would run, without running it."""


class Target(Protocol):
    """A place outside where primaries are published: a key-value store, a proxy."""

    @property
    def name(self) -> str:
        """As people are told it: kind and address, no secret."""

    def takes(self, alias: str) -> bool:
        """Whether the primary of this alias is published here."""

    async def publish(
        self, published: Published, *, forced: bool, before_write: Callable[[], None], timeout_s: float
    ) -> bool:
        """Have the target say so, as one whole; False when it did already.

        ``before_write`` is called right before the write and raises if this node may not act any more. Raises Refused
        where the target has something newer, unless ``forced``; ServerError when it answers with an error; Unavailable
        when it does not answer in time.
        """

    async def close(self) -> None: ...


class Addresses(Protocol):
    """Looks up the addresses of hosts."""

    async def look_up(self, hostname: str, *, timeout_s: float) -> tuple[str, str]:
        """IPv4 and IPv6 address, each empty where none is known. Never raises, never takes longer."""

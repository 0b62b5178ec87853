"""The replicated state of one node: what the committed commands have made of it.

Rules
- The machine is pure and given from outside. ``apply`` is total: an exception in it is a bug that would make nodes
  diverge, so it is let through and stops the node (``RaftNode.on_fatal``). The same holds for a committed command that
  this version cannot read.
- Whoever reads gets the newest state as it is: it is immutable, so reading is free and never sees half an entry.
- A digest is chained over all applied commands; nodes with the same index must have the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from orchestrator_raft.raft.appends import Entry
from orchestrator_raft.raft.levels import Levels
from orchestrator_raft.raft.membership import Configuration
from orchestrator_raft.raft.store import Snapshot

S = TypeVar("S")
C = TypeVar("C")
R = TypeVar("R")
C_contra = TypeVar("C_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)


class Machine(Protocol[S, C_contra, R_co]):
    """A deterministic state machine. A command has an attribute ``id: str``; ``apply`` remembers ids, so that a command
    that is proposed again under the same id has no second effect and gives the first result again."""

    def initial(self) -> S: ...
    def apply(self, state: S, command: C_contra) -> tuple[S, R_co]: ...


class MachineCodec(Protocol[S, C]):
    """Bytes for commands and state; ``codec.Codec`` is one."""

    @property
    def levels(self) -> Levels: ...
    def encode_command(self, command: C, level: int) -> bytes: ...
    def decode_command(self, data: bytes) -> C: ...
    def encode_state(self, state: S, level: int) -> bytes: ...
    def decode_state(self, data: bytes) -> S: ...
    def encode_part(self, value: Any) -> bytes:
        """Any value that stands in a state; equal values give equal bytes on every node."""


class Observer(Protocol):
    """Hears of every step of the state; ``self_check.SelfCheck`` is one."""

    def before_apply(self, index: int) -> None: ...
    def restored(self) -> None: ...


class Replicated(Generic[S, C, R]):
    """State, index and digest of what was applied here. ``on_applied`` hears (index, command, result) after each."""

    def __init__(
        self, machine: Machine[S, C, R], codec: MachineCodec[S, C], on_applied: Callable[[int, C, R], None]
    ) -> None:
        self._machine = machine
        self._codec = codec
        self._on_applied = on_applied
        self.state = machine.initial()
        self.digest = NO_DIGEST
        self.observer: Observer | None = None

    @property
    def levels(self) -> Levels:
        """What this version knows."""
        return self._codec.levels

    def encode_part(self, value: Any) -> bytes:
        return self._codec.encode_part(value)

    def apply(self, index: int, data: bytes) -> None:
        if self.observer is not None:
            self.observer.before_apply(index)
        command = self._codec.decode_command(data)
        self.state, result = self._machine.apply(self.state, command)
        self.digest = hashlib.blake2b(data, key=self.digest, salt=index.to_bytes(16), digest_size=DIGEST_BYTES).digest()
        self._on_applied(index, command, result)

    def snapshot(self, previous: Entry, last: Entry, members: tuple[int, Configuration]) -> Callable[[], bytes]:
        """How to encode what is applied now; may be called later and in another thread, the values do not change."""
        state, digest, codec = self.state, self.digest, self._codec
        members_index, configuration = members

        def build() -> bytes:
            encoded = codec.encode_state(state, configuration.level)
            return Snapshot(
                previous=previous,
                last=last,
                digest=digest,
                state=encoded,
                members_index=members_index,
                members=configuration,
            ).encode()

        return build

    def restore(self, snapshot: Snapshot) -> None:
        self.state = self._codec.decode_state(snapshot.state)
        self.digest = snapshot.digest
        if self.observer is not None:
            self.observer.restored()

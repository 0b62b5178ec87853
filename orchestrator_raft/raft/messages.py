"""Everything that nodes say to each other after they have authenticated, as frozen values and a checked encoding.

Rules
- A message is a msgpack array: its tag, then its fields in order. A decoded message has the declared types and ranges,
  anything else raises ProtocolError. More fields than declared are ignored and an unknown tag gives None, both because
  a newer node may send them.
- Whatever says something about this node's term, vote or log is tagged with the term it was said in (design D5).
- A tag is never used for another message later; a field is only added at the end, with a default.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from orchestrator_raft.raft.appends import Entry
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.packed import shown, unpacked

TEXT_MAX = 4096
NUMBER_MAX = 2**62


@dataclass(frozen=True, slots=True)
class Append:
    """A leader's entries, and its heartbeat. ``sent_s`` is on the leader's clock and is echoed as it is."""

    term: int
    prev_index: int
    prev_term: int
    commit_index: int
    sent_s: float
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A leader's heartbeat to a node that is being sent a snapshot: it says nothing about the log."""

    term: int
    sent_s: float


@dataclass(frozen=True, slots=True)
class LeaseAck:
    """The echo of an accepted Append or Heartbeat; sent at once, it promises the lease and nothing about the log."""

    term: int
    sent_s: float


@dataclass(frozen=True, slots=True)
class Ack:
    """The follower's answer about its log; it leaves when the log is on disk.

    ``asked_index`` is the ``prev_index`` it answers, so that a leader can tell an answer to something older.
    """

    term: int
    asked_index: int
    next_index: int
    success: bool


@dataclass(frozen=True, slots=True)
class NewerTerm:
    """Answer to a leader or candidate of a lower term."""

    term: int


@dataclass(frozen=True, slots=True)
class VoteRequest:
    term: int
    last_index: int
    last_term: int
    requested: bool
    """The leader itself asked for this election (a transfer), so its lease is no reason to refuse."""


@dataclass(frozen=True, slots=True)
class Vote:
    term: int


@dataclass(frozen=True, slots=True)
class PreVoteRequest:
    """Would you vote for me in ``term``, which nobody has entered yet?"""

    term: int
    last_index: int
    last_term: int
    round: int


@dataclass(frozen=True, slots=True)
class PreVoteGrant:
    term: int
    round: int


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """The leader of ``term`` asks the receiver to take over now."""

    term: int


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """A piece of the snapshot that ends with entry ``index``; ``size`` is that of the whole."""

    term: int
    index: int
    size: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """So many bytes of the snapshot that ends with ``index`` have arrived."""

    term: int
    index: int
    offset: int


@dataclass(frozen=True, slots=True)
class DigestReport:
    """What the sender had at some indexes, for the comparison of states (``self_check``)."""

    format: str
    """How it writes states."""
    rendezvous: int
    """The index that a leader asks everybody to mark; 0 from anybody else."""
    marks: bytes
    """``digests.pack``."""


@dataclass(frozen=True, slots=True)
class Ping:
    sent_s: float


@dataclass(frozen=True, slots=True)
class Pong:
    sent_s: float


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks, once both sides have proved that they belong."""

    slot: str
    node_id: str
    boot_id: str
    cluster_id: str
    address: str
    version: str
    slots: str
    """The members this node knows, for the message that explains a mismatch."""
    level: int = 1
    """Of the cluster, as far as this node knows."""
    oldest_level: int = 1
    newest_level: int = 1
    """What the speaker's version knows (``levels``)."""
    members_index: int = 0
    """Where the newest list of members that it knows stands in the log."""
    is_new: bool = False
    """It has no cluster, or one that was just founded."""


@dataclass(frozen=True, slots=True)
class Use:
    """The node with the smaller name decides which of several connections counts: the one with the highest number."""

    number: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the connection is closed again; shown to the people of the other node."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A question on the channel; ``timeout_s`` is what is left of the caller's patience."""

    call_id: int
    method: str
    payload: bytes
    timeout_s: float


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of the answer to a call; the last one says so."""

    call_id: int
    data: bytes
    end: bool


@dataclass(frozen=True, slots=True)
class CallFailure:
    """The answer to a call is an error: its class name and its text."""

    call_id: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class CallCredit:
    """The caller has taken so many parts and can hold as many more."""

    call_id: int
    parts: int


@dataclass(frozen=True, slots=True)
class CallCancel:
    """The caller no longer waits."""

    call_id: int


RaftMessage = (
    Append | Heartbeat | LeaseAck | Ack | NewerTerm | VoteRequest | Vote | PreVoteRequest | PreVoteGrant
    | TransferRequest | SnapshotPart | SnapshotProgress | DigestReport
)  # fmt: skip
CallMessage = Call | CallPart | CallFailure | CallCredit | CallCancel
LinkMessage = Ping | Pong | Hello | Use | Refusal
Message = RaftMessage | CallMessage | LinkMessage

TAGS: Mapping[int, type[Any]] = {
    1: Append, 2: Heartbeat, 3: LeaseAck, 4: Ack, 5: NewerTerm, 6: VoteRequest, 7: Vote, 8: PreVoteRequest,
    9: PreVoteGrant, 10: TransferRequest, 11: SnapshotPart, 12: SnapshotProgress, 13: DigestReport,
    20: Ping, 21: Pong, 22: Hello, 23: Use, 24: Refusal,
    30: Call, 31: CallPart, 32: CallFailure, 33: CallCredit, 34: CallCancel,
}  # fmt: skip


def encode(message: Message) -> bytes:
    kind = type(message)
    names, tag = _LAYOUT[kind]
    fields = [getattr(message, name) for name in names]
    if kind is Append:
        fields[_ENTRIES] = [(term, data) for data, _, term in fields[_ENTRIES]]
    packed: bytes = msgpack.packb([tag, *fields], use_bin_type=True)
    return packed


def decode(data: bytes) -> Message | None:
    """The message in one frame; None for a tag this version does not know. Raises ProtocolError."""
    try:
        plain = unpacked(data, arrays=tuple, maps=False)
    except ValueError as error:
        raise ProtocolError(f"a frame of {len(data)} bytes is no message: {error}") from error
    if not isinstance(plain, tuple) or not plain or type(plain[0]) is not int:
        raise ProtocolError(f"a frame of {len(data)} bytes is no message: the tag is missing")
    kind = TAGS.get(plain[0])
    if kind is None:
        return None
    required, checks = _CHECKS[kind]
    if len(plain) - 1 < required:
        raise ProtocolError(f"{kind.__name__}: {len(plain) - 1} of {required} fields")
    values = [check(value) for check, value in zip(checks, plain[1:], strict=False)]
    if kind is Append:
        values[_ENTRIES] = _entries(values[_ENTRIES], prev_index=values[1], leader_term=values[0])
    message: Message = kind(*values)
    return message


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ProtocolError(f"{shown(value)} is no count")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (float, int) or not math.isfinite(value):
        raise ProtocolError(f"{shown(value)} is no time")
    return float(value)


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > TEXT_MAX:
        raise ProtocolError("a text is missing or too long")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ProtocolError(f"{shown(value)} is no yes or no")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise ProtocolError("bytes are missing")
    return value


def _list(value: Any) -> Sequence[Any]:
    if type(value) is not tuple:
        raise ProtocolError("a list is missing")
    return value


def _entries(pairs: Sequence[Any], prev_index: int, leader_term: int) -> tuple[Entry, ...]:
    """Entries numbered on from ``prev_index``. Terms never fall along a log, nor exceed the leader's."""
    entries: list[Entry] = []
    lowest = 0
    for index, pair in enumerate(pairs, prev_index + 1):
        if type(pair) is not tuple or len(pair) != 2:
            raise ProtocolError("an entry is no pair of term and command")
        term, data = _number(pair[0]), _bytes(pair[1])
        if not lowest <= term <= leader_term or not data:
            raise ProtocolError(f"entry {index} of term {term} cannot stand there")
        lowest = term
        entries.append((data, index, term))
    return tuple(entries)


_BY_TYPE: Mapping[str, Callable[[Any], Any]] = {
    "int": _number, "float": _seconds, "str": _text, "bool": _flag, "bytes": _bytes, "tuple[Entry, ...]": _list,
}  # fmt: skip
_LAYOUT = {kind: (tuple(field.name for field in dataclasses.fields(kind)), tag) for tag, kind in TAGS.items()}
_ENTRIES = _LAYOUT[Append][0].index("entries")


def _checks(kind: type[Any]) -> tuple[int, tuple[Callable[[Any], Any], ...]]:
    """How many fields must be there, and how each is checked."""
    fields = dataclasses.fields(kind)
    required = sum(field.default is dataclasses.MISSING for field in fields)
    return required, tuple(_BY_TYPE[str(field.type)] for field in fields)


_CHECKS = {kind: _checks(kind) for kind in TAGS.values()}

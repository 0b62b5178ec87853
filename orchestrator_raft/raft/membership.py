"""Who belongs to the cluster: a value in the replicated log, and which changes of it are safe (design D5). Pure.

Words: a *seat* is one member's place; its *slot* is its name for ever, its *incarnation* the random id of its data
directory; a *voter* counts for majorities, a *learner* gets everything and counts nowhere; a *configuration* is all
seats.

Rules
- A configuration stands whole in one entry of the log, which to PySyncObj is a no-op with a body. It is in force on a
  node from the moment the entry is in that node's journal, and out of force again when the entry is cut off.
- One change at a time, of at most one voter; the next only when the one before is committed, and none before the leader
  has authority, which includes that an entry of its own term is committed.
- A leader never takes itself out: it is marked as leaving, hands over, and its successor takes it out. So whoever has
  authority is always a voter of its newest configuration. A node that is none may lead, without authority, only to pass
  on what nobody else has (``members``): whose log is newest can always be elected, by the voters that its log names.
- The cluster's level (``levels``) stands in the configuration, too: it rises when every member is connected and knows
  the next one, which no change of the members can overtake.
- What has to happen after a change (a learner is promoted, a replaced member goes) stands in the configuration itself,
  so whoever leads next goes on with it: ``next_step``.

Why two configurations in force at the same time still give one authority
- Old and new differ by at most one voter, therefore any majority of the one and any majority of the other share a node.
  That node has promised the leader's lease (``lease``) and votes for nobody else while it runs, whichever configuration
  the candidate counts by.
- Configurations that are two changes apart are never both able to elect: the one between them is committed, so a
  majority of it holds its entry; a candidate that does not have this entry needs a majority of a configuration one
  change away from it, meets a holder there, and is refused because its log is behind.
- That argument needs the leader's own configuration to be the newest committed one or one after it. A new leader may
  have inherited an uncommitted one; before an entry of its own term is committed it therefore appends none.
- A learner's promises bind it like a voter's, so what it echoed before its promotion may count after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from orchestrator_raft.core.errors import InvalidInput, Refused
from orchestrator_raft.raft.levels import FIRST
from orchestrator_raft.raft.packed import shown, unpacked

MARK = b"\x01members"
"""What the entry of a configuration begins with. The first byte makes it a no-op for the library."""
FORMAT = 1
MEMBERS_MAX = 15
CAUGHT_UP_ENTRIES = 100
"""So many entries behind the leader's log a learner may be when it is promoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One member."""

    slot: str
    address: str
    """Where it is reached, ``host:port``."""
    incarnation: str = ""
    """Random id of its data directory; empty until a leader has met it."""
    votes: bool = True
    replaces: str = ""
    """The slot that goes when this one votes."""
    leaving: bool = False
    """It leads, and goes as soon as another leads."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """All members, in the order of their slots, and the level at which they write the log."""

    seats: tuple[Seat, ...]
    level: int = FIRST
    voters: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "voters", frozenset(seat.slot for seat in self.seats if seat.votes))

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(seat.slot for seat in self.seats)

    def seat(self, slot: str) -> Seat | None:
        return next((seat for seat in self.seats if seat.slot == slot), None)

    def at(self, address: str) -> Seat | None:
        return next((seat for seat in self.seats if seat.address == address), None)

    def with_seat(self, seat: Seat) -> Configuration:
        """With this seat in place of the one of its slot, if there is one."""
        others = [each for each in self.seats if each.slot != seat.slot]
        return configuration_of([*others, seat], self.level)

    def without(self, slot: str) -> Configuration:
        """Nobody replaces a member that is gone."""
        rest = [each for each in self.seats if each.slot != slot]
        kept = (replace(each, replaces="") if each.replaces == slot else each for each in rest)
        return configuration_of(kept, self.level)


def configuration_of(seats: Iterable[Seat], level: int = FIRST) -> Configuration:
    return Configuration(tuple(sorted(seats, key=lambda seat: seat.slot)), level)


def founded(slots: Iterable[str]) -> Configuration:
    """The first configuration: everybody votes, and every slot is an address."""
    return configuration_of(Seat(slot=slot, address=slot) for slot in slots)


# bytes


def encode(configuration: Configuration) -> bytes:
    """The entry of the log, and the value in a snapshot."""
    seats = [
        [seat.slot, seat.address, seat.incarnation, seat.votes, seat.replaces, seat.leaving]
        for seat in configuration.seats
    ]
    packed: bytes = msgpack.packb([FORMAT, seats, configuration.level], use_bin_type=True)
    return MARK + packed


def is_configuration(entry: bytes) -> bool:
    return entry.startswith(MARK)


def decode(entry: bytes) -> Configuration:
    """Raises ValueError for anything that ``encode`` did not make, and for a newer format."""
    if not is_configuration(entry):
        raise ValueError("it is no configuration of the cluster")
    try:
        version, seats, level = unpacked(entry[len(MARK) :], arrays=tuple, maps=False)[:3]
        if version != FORMAT:
            raise ValueError(f"the list of members is in format {shown(version)}, this one reads {FORMAT}: upgrade it")
        if type(level) is not int or level < FIRST:
            raise ValueError("the level in the list of members is malformed")
        return configuration_of((_seat(each) for each in seats), level)
    except TypeError as error:
        raise ValueError(f"the list of members is malformed: {type(error).__name__}") from error


def _seat(plain: Any) -> Seat:
    slot, address, incarnation, votes, replaces, leaving = plain[:6]
    texts = (slot, address, incarnation, replaces)
    if not all(type(text) is str for text in texts) or type(votes) is not bool or type(leaving) is not bool:
        raise ValueError("a seat in the list of members is malformed")
    return Seat(slot=slot, address=address, incarnation=incarnation, votes=votes, replaces=replaces, leaving=leaving)


# what people ask for


def added(configuration: Configuration, address: str, *, replaces: str = "") -> Configuration:
    """With a learner at ``address``. Raises Refused or InvalidInput."""
    known = configuration.at(address) or configuration.seat(address)
    if known is not None:
        where = "" if known.address == known.slot else f", now at {known.address}"
        raise Refused(f"{address} is a member already ({known.slot}{where}): to let it in with an empty directory, "
                      f"remove it first")  # fmt: skip
    if replaces and configuration.seat(replaces) is None:
        raise unknown(configuration, replaces)
    if any(replaces and seat.replaces == replaces for seat in configuration.seats):
        raise Refused(f"{replaces} is being replaced already: remove the member that is to take its place first")
    if len(configuration.seats) >= MEMBERS_MAX:
        raise Refused(f"there are {MEMBERS_MAX} members already, which is the most: remove one first")
    return configuration.with_seat(Seat(slot=address, address=address, votes=False, replaces=replaces))


def removed(configuration: Configuration, slot: str, leader: str) -> Configuration:
    """Without ``slot``; with it marked as leaving, if it leads. Raises Refused or InvalidInput."""
    seat = configuration.seat(slot)
    if seat is None:
        raise unknown(configuration, slot)
    if seat.votes and not configuration.voters - going(configuration) - {slot}:
        raise Refused(f"{slot} is the only voter that is to stay: nothing would be left; add another member first")
    if slot == leader:
        return configuration.with_seat(replace(seat, leaving=True))
    return configuration.without(slot)


def unknown(configuration: Configuration, slot: str) -> InvalidInput:
    return InvalidInput(f"'{slot}' is no member; members are {', '.join(sorted(configuration.slots))}")


def going(configuration: Configuration) -> frozenset[str]:
    """Who is to be taken out: leaving, or with another in its place."""
    leaving = {seat.slot for seat in configuration.seats if seat.leaving}
    return frozenset(leaving | {seat.replaces for seat in configuration.seats if seat.votes and seat.replaces})


# what a leader may do, and what it has to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What a connected member says of itself."""

    incarnation: str = ""
    address: str = ""
    newest_level: int = FIRST
    """The newest level that its version knows."""
    members_index: int = 0
    """Where the newest configuration that it knew when it connected stands in the log."""


UNKNOWN = Contact()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a leader knows when it looks at the members."""

    me: str
    configuration: Configuration
    has_authority: bool
    is_committed: bool
    """The newest configuration is committed."""
    live: frozenset[str]
    """Who answers now, the leader included."""
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    """So many entries those of the others have less than the leader who have the newest configuration. Who has not may
    have nothing, and would not even vote: a cluster of one that had promoted it could not be led again."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """The leader is leaving: somebody else is to lead."""


def not_yet(standing: Standing) -> str:
    """Why no change can be made this moment, as text; empty if one can. It passes by itself."""
    if not standing.has_authority:
        return f"{standing.me} has no authority now: ask again, the leader answers as soon as a majority is connected"
    if not standing.is_committed:
        return "another change of the members is under way: wait until it is done, then ask again"
    return ""


def quorum_complaint(standing: Standing, wanted: Configuration) -> str:
    """Why ``wanted`` would leave the cluster without a working majority, as text; empty if it would not."""
    voters = wanted.voters
    live = voters & standing.live
    if len(live) > len(voters) // 2:
        return ""
    absent = ", ".join(sorted(voters - live))
    return (
        f"the quorum would be lost: of the {len(voters)} voters that there would be, {len(live)} answer now; "
        f"start {absent}, or remove what is gone for good first"
    )


def next_step(standing: Standing) -> Configuration | HandOver | None:
    """What the newest configuration and what is known of the members ask for; None if nothing, or not now."""
    if not_yet(standing):
        return None
    wanted = _recorded(standing) or _promoted(standing) or _reduced(standing) or _raised(standing)
    if isinstance(wanted, Configuration) and quorum_complaint(standing, wanted):
        return None
    return wanted


def _recorded(standing: Standing) -> Configuration | None:
    """With the incarnations met for the first time, and with addresses that have changed."""
    seats = tuple(_met(seat, standing.contacts.get(seat.slot)) for seat in standing.configuration.seats)
    return None if seats == standing.configuration.seats else replace(standing.configuration, seats=seats)


def _met(seat: Seat, contact: Contact | None) -> Seat:
    if contact is None or seat.incarnation not in ("", contact.incarnation):
        return seat
    return replace(seat, incarnation=contact.incarnation, address=contact.address or seat.address)


def _promoted(standing: Standing) -> Configuration | None:
    for seat in standing.configuration.seats:
        behind = standing.missing.get(seat.slot)
        if not seat.votes and seat.slot in standing.live and behind is not None and behind <= CAUGHT_UP_ENTRIES:
            return standing.configuration.with_seat(replace(seat, votes=True))
    return None


def _reduced(standing: Standing) -> Configuration | HandOver | None:
    goes = going(standing.configuration)
    for slot in sorted(goes - {standing.me}):
        return standing.configuration.without(slot)
    return HandOver() if standing.me in goes else None


def _raised(standing: Standing) -> Configuration | None:
    """At the newest level that every member knows, if all are connected and that is later than the present one."""
    known = [standing.contacts.get(seat.slot, UNKNOWN).newest_level for seat in standing.configuration.seats]
    newest = min(known, default=FIRST)
    return replace(standing.configuration, level=newest) if newest > standing.configuration.level else None


# what a node remembers


class History:
    """The configurations in one journal, newest last. Before the first one that is known there is nothing."""

    def __init__(self, index: int = 0, configuration: Configuration | None = None) -> None:
        self._known: list[tuple[int, Configuration]] = []
        self.version = 0
        """Rises with every change."""
        if configuration is not None:
            self.reset(index, configuration)

    @property
    def newest(self) -> Configuration | None:
        return self._known[-1][1] if self._known else None

    @property
    def newest_index(self) -> int:
        """The entry it stands in; 0 for the one that the cluster was founded with, and for none."""
        return self._known[-1][0] if self._known else 0

    def at(self, index: int) -> tuple[int, Configuration] | None:
        """What was in force when the log ended with ``index``, and the entry it stands in."""
        return next((known for known in reversed(self._known) if known[0] <= index), None)

    def add(self, index: int, configuration: Configuration) -> None:
        self._known.append((index, configuration))
        self.version += 1

    def cut(self, first_index: int) -> None:
        """Entries from ``first_index`` on are gone."""
        kept = [known for known in self._known if known[0] < first_index]
        if len(kept) != len(self._known):
            self._known = kept
            self.version += 1

    def trim(self, first_index: int) -> None:
        """Nothing before ``first_index`` will be cut any more."""
        base = self.at(first_index)
        if base is not None:
            self._known = [known for known in self._known if known[0] >= base[0]]

    def reset(self, index: int, configuration: Configuration) -> None:
        """A snapshot, or the founding, says what is in force."""
        self._known = [(index, configuration)]
        self.version += 1

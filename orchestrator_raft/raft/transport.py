"""The links to the other nodes: who is connected, over which connection, and why not.

Rules
- Either side dials, again and again with a jitter while there is no connection; the address is looked up at each dial.
- One connection per peer counts. The node with the smaller slot decides: it numbers each connection that has passed the
  handshake, and the highest number counts on both sides. The other one closes, and its frames are dropped.
- Strangers cost little: see ``accepting``; nothing is parsed beyond the fixed layout of the handshake.
- Off loopback nothing is sent in plain text unless that was allowed (``security``). Under TLS a peer is the member that
  it says it is only if its certificate names the host of that member.
- A connection on which nothing was heard for ``SILENCE_S`` is closed; pings keep a quiet one alive and measure it.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator_raft import __version__
from orchestrator_raft.core.errors import StartupError
from orchestrator_raft.raft import handshake
from orchestrator_raft.raft.accepting import Acceptor
from orchestrator_raft.raft.clock import Clock
from orchestrator_raft.raft.complaints import Complaints, Refused
from orchestrator_raft.raft.connection import BROKEN, Connection, why
from orchestrator_raft.raft.dialling import check_security, open_to
from orchestrator_raft.raft.frames import ProtocolError
from orchestrator_raft.raft.levels import FIRST, ONE_LEVEL, Levels
from orchestrator_raft.raft.messages import Hello, Message, Ping, Pong, Refusal, Use
from orchestrator_raft.raft.roster import Roster
from orchestrator_raft.raft.security import Security
from orchestrator_raft.raft.settings import Address, parse_address
from orchestrator_raft.tasks import Tasks

DIAL_S = 3.0
REDIAL_S = (0.1, 0.45)
PING_S = 1.0
SILENCE_S = 3.5


class Listener(Protocol):
    """Who hears of the links."""

    def peer_connected(self, slot: str) -> None: ...
    def peer_disconnected(self, slot: str) -> None: ...
    def peer_said(self, slot: str, messages: Sequence[Message]) -> None:
        """Raises ProtocolError to have the connection closed."""


@dataclass(slots=True)
class Link:
    """One peer as this node sees it."""

    slot: str
    address: Address
    active: Connection | None = None
    number: int = 0
    boot_id: str = ""
    heard_s: float | None = None
    round_trip_s: float | None = None
    is_cut: bool = False
    is_gone: bool = False
    """It is no member, or none any more: it is not dialled."""
    is_dialled: bool = False
    dials: int = 0
    down: asyncio.Event = field(default_factory=asyncio.Event)


class Transport:
    def __init__(
        self, me: Roster, security: Security, listener: Listener, *, tasks: Tasks, clock: Clock, frame_bytes: int,
        levels: Levels = ONE_LEVEL, level: Callable[[], int] = lambda: FIRST, term: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        self._me = me
        self._levels = levels
        self._level = level
        self._term = term
        self._security = security
        self._listener = listener
        self._tasks = tasks
        self._clock = clock
        self._frame_bytes = frame_bytes
        self._boot_id = uuid.uuid4().hex
        self._complaints = Complaints(clock)
        self._acceptor: Acceptor[tuple[Link, Connection]] = Acceptor(
            tasks=tasks, complaints=self._complaints, context=security.server_context,
            meet=self._welcome, serve=self._serve_met,
        )  # fmt: skip
        self._is_running = False
        self.links: dict[str, Link] = {}
        self.follow()

    # life

    async def start(self, bind: Address) -> None:
        """Listen and begin to dial. Raises StartupError that names the address and the cause."""
        await check_security(self._security, (bind, *self._me.addresses.values()))
        await self._acceptor.start(bind)
        self._is_running = True
        for link in self.links.values():
            self._dial_from_now_on(link)
        self._tasks.start("pings", self._keep_pinging())

    def follow(self) -> None:
        """The members may be others, or at other addresses: dial who is one, let go who is not."""
        addresses = self._me.addresses
        for slot in self._me.others:
            link = self.links.get(slot)
            if link is None or link.is_gone:
                self._begin(slot, addresses[slot], link)
            else:
                link.address = addresses[slot]
        for slot, link in list(self.links.items()):
            if slot not in addresses:
                self._part(link)
            elif link.active is not None and link.active.peer is not None:
                self._judge_again(link, link.active)

    def _begin(self, slot: str, address: Address, guest: Link | None) -> None:
        """A new member; it may be connected already, because it knew that before this node did."""
        link = self.links[slot] = guest or Link(slot, address)
        link.address, link.is_gone = address, False
        if link.active is None:
            link.down.set()
        if self._is_running:
            self._dial_from_now_on(link)

    def _dial_from_now_on(self, link: Link) -> None:
        if not link.is_dialled:
            link.is_dialled = True
            self._tasks.start(f"dial {link.slot}", self._keep_dialling(link))

    def _part(self, link: Link) -> None:
        link.is_gone = True
        link.down.set()
        if link.active is None:
            self.links.pop(link.slot, None)
        else:
            self._judge_again(link, link.active)

    def _judge_again(self, link: Link, connection: Connection) -> None:
        """What is known of the members has changed since the handshake."""
        try:
            if connection.peer is not None:
                handshake.judge(self._me, link.slot, connection.peer)
        except ProtocolError as error:
            self._complaints.note(link.slot, f"the connection to {link.slot} was closed: {error}")
            connection.send(Refusal(f"{self._me.slot} refuses {link.slot}: {error}"))
            connection.finish()

    async def close(self) -> None:
        """Stop listening and close every connection."""
        self.abort()
        await self._acceptor.close()

    def abort(self) -> None:
        """Drop every connection at once, and make no new one."""
        self._acceptor.abort()
        for link in self.links.values():
            link.is_cut = True
            if link.active is not None:
                link.active.abort()

    # sending

    def send(self, slot: str, message: Message) -> bool:
        """Whether it was accepted for sending; a link that breaks loses it."""
        link = self.links.get(slot)
        if link is None or link.active is None or link.is_cut:
            return False
        return link.active.send(message)

    async def drain(self, slot: str) -> None:
        """Until little waits on that link. Raises ConnectionError when it is down."""
        link = self.links.get(slot)
        if link is None or link.active is None:
            raise ConnectionResetError(f"{slot} is not connected")
        await link.active.drain()

    def is_connected(self, slot: str) -> bool:
        link = self.links.get(slot)
        return link is not None and link.active is not None

    def complaint(self, slot: str) -> str:
        """Why that peer is not connected, as far as this node knows."""
        return self._complaints.about(slot)

    def refused(self) -> tuple[Refused, ...]:
        """Connections of strangers that were refused lately."""
        return self._complaints.refused()

    # for tests: a link that loses everything without being closed

    def cut(self, slot: str) -> None:
        self.links[slot].is_cut = True

    def heal(self, slot: str) -> None:
        """The link works again, over a new connection."""
        link = self.links[slot]
        link.is_cut = False
        if link.active is not None:
            link.active.abort()

    # dialling and accepting

    async def _keep_dialling(self, link: Link) -> None:
        while True:
            await link.down.wait()
            await asyncio.sleep(random.uniform(*REDIAL_S))
            if link.is_gone:
                link.is_dialled = False
                return
            if link.active is not None or link.is_cut:
                continue
            try:
                connection = await self._dial(link)
            except (*BROKEN, StartupError) as error:
                self._complaints.note(link.slot, f"no connection to {link.slot}: {why(error)}")
                continue
            if connection is not None:
                await self._serve(link, connection)

    async def _dial(self, link: Link) -> Connection | None:
        """A connection that counts, or None if another one does."""
        async with asyncio.timeout(DIAL_S):
            candidates = self._me.to_dial(link.slot) or (link.address,)
            link.dials += 1
            reader, writer = await open_to(candidates[link.dials % len(candidates)], self._security)
            connection = Connection(reader, writer, self._frame_bytes)
            ip, counts = _ip(writer), False
            try:
                await handshake.dial(
                    reader, writer, slot=link.slot, key_for=lambda named: self._security.key_for(named, ip)
                )
                counts = await self._introduce(connection, link) is not None
            finally:
                if not counts:
                    connection.abort()
            return connection if counts else None

    async def _welcome(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ip: str
    ) -> tuple[Link, Connection] | None:
        """Whoever was accepted, if it is a peer and its connection counts. Raises what is in BROKEN."""
        connection = Connection(reader, writer, self._frame_bytes)
        key, path = self._security.own_key(), self._security.named_path(ip)
        await handshake.accept(reader, writer, slot=self._me.slot, key=key, path=path)
        link = await self._introduce(connection, None)
        return (link, connection) if link is not None else None

    async def _serve_met(self, met: tuple[Link, Connection]) -> None:
        await self._serve(*met)

    # one connection counts

    async def _introduce(self, connection: Connection, expected: Link | None) -> Link | None:
        """Exchange names; the link if this connection is now the one that counts. Raises ProtocolError."""
        me = self._me
        connection.send(self._hello())
        hello = await connection.receive_one()
        if isinstance(hello, Refusal):
            raise ProtocolError(hello.text)
        if not isinstance(hello, Hello):
            raise ProtocolError("it did not say who it is")
        me.note(hello)
        try:
            handshake.judge(me, expected.slot if expected is not None else None, hello)
            handshake.judge_levels(self._levels, self._level(), hello)
            link = self.links.get(hello.slot) or Link(hello.slot, self._claimed(hello), is_gone=True)
            self._security.check_peer(connection.certificate, self._hosts(hello))
        except ProtocolError as error:
            connection.send(Refusal(f"{me.slot} refuses {hello.slot}: {error}"))
            connection.finish()
            raise
        connection.peer = hello
        number = await self._number(connection, link, hello)
        if link.is_cut or (hello.boot_id == link.boot_id and number <= link.number):
            return None
        self.links[link.slot] = link
        self._activate(link, connection, number)
        return link

    def _claimed(self, hello: Hello) -> Address:
        """Where it says that it is. Raises ProtocolError."""
        try:
            return parse_address(hello.address, 1, hello.slot)
        except StartupError as error:
            raise ProtocolError(str(error)) from error

    def _hosts(self, hello: Hello) -> tuple[str, ...]:
        """One of these its certificate has to name: where this node looks for the member, never only what it claims.

        Of a member that only others know by now there is nothing better than the host that it says.
        """
        looked_for = self._me.to_dial(hello.slot) or (self._claimed(hello),)
        return tuple(dict.fromkeys(address.host for address in looked_for))

    def _hello(self) -> Hello:
        me, levels = self._me, self._levels
        return Hello(
            slot=me.slot, node_id=me.node_id, boot_id=self._boot_id, cluster_id=me.cluster_id,
            address=str(me.addresses[me.slot]), version=__version__, slots=" ".join(sorted(me.addresses)),
            level=self._level(), oldest_level=levels.oldest, newest_level=levels.newest,
            members_index=me.members_index, is_new=me.is_new(self._term()),
        )  # fmt: skip

    async def _number(self, connection: Connection, link: Link, hello: Hello) -> int:
        """The connection's number: given here, if this node's slot is the smaller one, else heard."""
        if self._me.slot < hello.slot:
            connection.send(Use(link.number + 1))
            return link.number + 1
        answer = await connection.receive_one()
        if isinstance(answer, Refusal):
            raise ProtocolError(answer.text)
        if not isinstance(answer, Use):
            raise ProtocolError("it did not say which connection counts")
        return answer.number

    def _activate(self, link: Link, connection: Connection, number: int) -> None:
        assert connection.peer is not None
        old, link.active = link.active, connection
        link.number, link.boot_id = number, connection.peer.boot_id
        link.heard_s = self._clock()
        link.down.clear()
        if old is not None:
            old.abort()
            self._listener.peer_disconnected(link.slot)
        self._listener.peer_connected(link.slot)

    async def _serve(self, link: Link, connection: Connection) -> None:
        """Read until the connection ends or no longer counts."""
        try:
            while messages := await self._receive(link, connection):
                if link.active is not connection:
                    break
                if not link.is_cut:
                    link.heard_s = self._clock()
                    self._dispatch(link, messages)
                    self._complaints.settled(link.slot)
        except ProtocolError as error:
            self._complaints.note(link.slot, f"the connection to {link.slot} was closed: {error}")
        finally:
            connection.abort()
            if link.active is connection:
                link.active = None
                link.down.set()
                if link.is_gone and self.links.get(link.slot) is link:
                    del self.links[link.slot]
                self._listener.peer_disconnected(link.slot)

    async def _receive(self, link: Link, connection: Connection) -> list[Message]:
        """What comes next; nothing when the connection has ended, which is told if it did not end well."""
        try:
            return await connection.receive()
        except ProtocolError:
            raise
        except BROKEN as error:
            self._complaints.note(link.slot, f"the connection to {link.slot} broke: {why(error)}")
            return []

    def _dispatch(self, link: Link, messages: Sequence[Message]) -> None:
        rest: list[Message] = []
        for message in messages:
            match message:
                case Ping(sent_s):
                    self.send(link.slot, Pong(sent_s))
                case Pong(sent_s):
                    link.round_trip_s = max(0.0, self._clock() - sent_s)
                case Refusal(text):
                    raise ProtocolError(text)
                case Hello() | Use():
                    raise ProtocolError(f"{type(message).__name__} after the handshake")
                case _:
                    rest.append(message)
        if rest:
            self._listener.peer_said(link.slot, rest)

    async def _keep_pinging(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            self._security.look()
            now_s = self._clock()
            for link in self.links.values():
                if link.active is None:
                    continue
                if link.heard_s is not None and now_s - link.heard_s > SILENCE_S:
                    link.active.abort()
                else:
                    self.send(link.slot, Ping(now_s))


def _ip(writer: asyncio.StreamWriter) -> str:
    peername = writer.get_extra_info("peername")
    return str(peername[0]).partition("%")[0] if peername else ""

"""The replica's side of a modelled server: channel, receiver with its relay log, applier.

A changed source drops the relay log. The receiver acknowledges what it has written to the relay log, if it was
connected with semi-sync. An applier commits like a client, and so waits for acknowledgements where the source side is
on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_raft.core.gtid import GtidSet
from orchestrator_raft.core.instance import Channel, ChannelOption, InstanceKey, ThreadState
from tests.fleetsim.tcp import Connection, Frame
from tests.fleetsim.transactions import Transaction, one

if TYPE_CHECKING:
    from tests.fleetsim.server import Server

RETRY_S = 1.0
CONNECT_TIMEOUT_S = 3.0
RUNNING, STOPPED, CONNECTING = ThreadState.RUNNING, ThreadState.STOPPED, ThreadState.CONNECTING
WORDS = {RUNNING: "Yes", STOPPED: "No", CONNECTING: "Connecting"}


class Replication:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.source: InstanceKey | None = None
        self.relay: list[tuple[Transaction, float]] = []
        """What was received, and when it may be applied."""
        self.delay_s = server.configuration.delay_s
        self.retrieved: GtidSet = server.empty
        self.receiver = self.applier = STOPPED
        self.error_number = 0
        self.error = ""
        self.is_semi_sync = False
        self.source_uuid = ""
        self.net_timeout_s = 4.0
        self._connection: Connection | None = None
        self._applying = False
        self._applied = 0
        self._heard_s = 0.0
        self._turn = 0
        self._behind_since_s: float | None = None
        self._relay_number = 0
        """Counts relay logs: what was read from one that is gone is not applied."""

    @property
    def drops_at_restart(self) -> bool:
        return self._server.configuration.relay_log_recovery

    def started(self, *, runs: bool) -> None:
        """The server has come up."""
        self.receiver = self.applier = STOPPED
        self._connection, self._applying, self._applied = None, False, 0
        self.is_semi_sync, self.error, self.error_number = False, "", 0
        if self.drops_at_restart:
            self._server.world.checks.dropped(
                [each for each, _ in self.relay if not self._server.logged.covers(one(each))]
            )
            self.drop_relay_log()
        if self.source is not None and runs:
            self.start(receiver=True, applier=True)

    # threads

    def start(self, *, receiver: bool, applier: bool) -> None:
        if self.source is None:
            return
        if applier and self.applier is STOPPED:
            self.applier = RUNNING
            self._apply_next()
        if receiver and self.receiver is STOPPED:
            self._dial()

    def stop(self, *, receiver: bool, applier: bool) -> None:
        if receiver:
            self._hang_up(STOPPED, 0, "")
        if applier:
            self.applier = STOPPED

    def point_to(self, source: InstanceKey) -> None:
        self.source, self.source_uuid = source, ""
        self.drop_relay_log()

    def reset(self) -> None:
        self.source, self.source_uuid, self.delay_s = None, "", 0
        self.drop_relay_log()

    def drop_relay_log(self) -> None:
        self.relay, self.retrieved, self._applied = [], self._server.empty, 0
        self._relay_number += 1
        self.error, self.error_number = "", 0

    # receiver

    def _dial(self) -> None:
        server = self._server
        assert self.source is not None
        self._turn += 1
        self.receiver = CONNECTING
        there = server.world.by_key.get(self.source)
        if there is None:
            self._failed(2005, "unknown host")
            return
        self._connection = server.world.tcp.dial(server, there, self._heard, self._closed)
        server.at(CONNECT_TIMEOUT_S, self._give_up, self._turn)

    def _give_up(self, turn: int) -> None:
        if turn == self._turn and self.receiver is CONNECTING:
            self._failed(2003, "timed out")

    def _failed(self, number: int, cause: str) -> None:
        text = f"error reconnecting to source 'repl@{self.source}' - retry-time: 1 retries: 1 message: {cause}"
        self._hang_up(CONNECTING, number, text)
        self._server.at(RETRY_S, self._redial, self._turn)

    def _redial(self, turn: int) -> None:
        if turn == self._turn and self.receiver is CONNECTING:
            self._dial()

    def _hang_up(self, state: ThreadState, number: int, text: str) -> None:
        self._turn += 1
        self.receiver, self.is_semi_sync = state, False
        self.error_number, self.error = number, text
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave()

    def _closed(self, connection: Connection) -> None:
        if connection is self._connection and self.receiver is not STOPPED:
            self._failed(2003, "Can't connect to MySQL server")

    def _heard(self, connection: Connection, frame: Frame) -> None:
        if connection is not self._connection:
            return
        self._heard_s = self._server.world.now_s
        match frame[0]:
            case "greeting":
                self._follow(connection, frame[1])
            case "event":
                self._received(connection, frame[1], frame[2])
            case "refused":
                self._hang_up(STOPPED, 13114, f"Got fatal error {frame[1]} from source: {frame[2]}")

    def _follow(self, connection: Connection, uuid: str) -> None:
        server = self._server
        self.receiver, self.error, self.error_number, self.source_uuid = RUNNING, "", 0, uuid
        self.is_semi_sync = server.semi_sync.replica_enabled
        connection.ask(("login", "repl"))
        has = server.logged.union(self.retrieved)
        connection.ask(("dump", server.name, has, self.is_semi_sync, self.position))
        server.at(1.0, self._watch, self._turn)

    @property
    def position(self) -> Transaction | None:
        """Where the source is asked to begin, in a dialect that asks by one transaction."""
        return None

    def _watch(self, turn: int) -> None:
        """Heartbeats come while the source runs and the way is open."""
        if turn != self._turn or self.receiver is not RUNNING or self.source is None:
            return
        server = self._server
        there = server.world.by_key[self.source]
        connection = self._connection
        is_same = connection is not None and connection.there.life in (0, there.life)
        if is_same and there.is_awake and not server.world.tcp.is_blocked(server.name, there.name):
            self._heard_s = server.world.now_s
        elif server.world.now_s - self._heard_s > self.net_timeout_s:
            self._failed(2013, "Lost connection to MySQL server during query")
            return
        server.at(1.0, self._watch, turn)

    def _received(self, connection: Connection, index: int, transaction: Transaction) -> None:
        self.relay.append((transaction, self._server.world.now_s + self.delay_s))
        self.retrieved = self.retrieved.union(one(transaction))
        if self.is_semi_sync:
            connection.ask(("ack", index))
        self._apply_next()

    # applier

    def _apply_next(self) -> None:
        server = self._server
        if self.applier is not RUNNING or self._applying:
            return
        while self._applied < len(self.relay) and server.logged.covers(one(self.relay[self._applied][0])):
            self._applied += 1
        if self._applied >= len(self.relay):
            self._behind_since_s = None
            return
        if self._behind_since_s is None:
            self._behind_since_s = server.world.now_s
        self._applying = True
        transaction, due_s = self.relay[self._applied]
        slow_s = max(0.0, max(server.slow_apply_until_s, server.disk_full_until_s, due_s) - server.world.now_s)
        server.at(slow_s + server.configuration.apply_s, self._apply, self._relay_number, transaction)

    def _apply(self, relay_number: int, transaction: Transaction) -> None:
        self._applying = False
        if relay_number != self._relay_number or self._server.logged.covers(one(transaction)):
            self._apply_next()
            return
        if self.applier is not RUNNING:
            return
        self._applying = True
        self._server.commit(transaction, self.applied_one)
        self.committed(transaction)

    def committed(self, transaction: Transaction) -> None:
        """The applier has logged it."""

    def applied_one(self, _how: str) -> None:
        self._applying = False
        self._server.at(0.0, self._apply_next)

    # what it shows

    @property
    def lag_s(self) -> int | None:
        if self.receiver is not RUNNING or self.applier is not RUNNING:
            return None
        return int(self._server.world.now_s - self._behind_since_s) if self._behind_since_s is not None else 0

    def channels(self) -> tuple[Channel, ...]:
        if self.source is None:
            return ()
        return (
            Channel(
                source=self.source, source_uuid=self.source_uuid, user="repl", receiver=self.receiver,
                applier=self.applier, receiver_error_number=self.error_number, receiver_error=self.error,
                uses_gtid=True, retrieved=self.retrieved, lag_s=self.lag_s, delay_s=self.delay_s,
                options=(
                    ChannelOption("SOURCE_CONNECT_RETRY", 1), ChannelOption("SOURCE_DELAY", self.delay_s),
                    ChannelOption("SOURCE_SSL", 1),
                ),
            ),
        )  # fmt: skip

    def rows(self) -> list[dict[str, object]]:
        """SHOW REPLICA STATUS."""
        if self.source is None:
            return []
        return [{
            "Channel_Name": "", "Source_Host": self.source.hostname, "Source_Port": str(self.source.port),
            "Source_User": "repl", "Source_UUID": self.source_uuid, "Source_Server_Id": "0",
            "Replica_IO_Running": WORDS[self.receiver], "Replica_SQL_Running": WORDS[self.applier],
            "Last_IO_Errno": str(self.error_number), "Last_IO_Error": self.error, "Auto_Position": "1",
            "Retrieved_Gtid_Set": str(self.retrieved), "Executed_Gtid_Set": str(self._server.executed),
            "Source_SSL_Allowed": "Yes", "Connect_Retry": "1", "SQL_Delay": str(self.delay_s),
        }]  # fmt: skip

"""A modelled MariaDB server: what differs from MySQL, as found on 10.11.

Its binary log's state counts what still waits for an acknowledgement. A receiver shows the last transaction it has got,
and no set. Replication that starts anew, with both threads stopped, fetches everything again that is not applied, so it
drops the relay log. A source is asked by one transaction and refuses where it does not know that one. KILL ends a
commit that waits, and whoever has queued up behind it is told that his write is safe.
"""

from __future__ import annotations

import re
from typing import ClassVar

from orchestrator_raft.core.gtid import EMPTY_MARIADB, GtidSet, parse_mariadb
from orchestrator_raft.core.instance import Binlog, Channel, ChannelOption, Facts, Flavor
from tests.fleetsim.replica import RUNNING, STOPPED, WORDS, Replication
from tests.fleetsim.server import MANAGER, WAITING, Server, Session
from tests.fleetsim.sql import COMMON, Call, Row, change_source, show_channel, words
from tests.fleetsim.transactions import DOMAIN, Transaction, one

OPTIONS = (ChannelOption("MASTER_CONNECT_RETRY", 1), ChannelOption("MASTER_SSL", 1))
MARK = "orchestrator_raft fences"
RECEIVER_ID, APPLIER_ID = 5, 6


class MariadbReplication(Replication):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.slave_pos: Transaction | None = None
        """What replication has applied last."""

    @property
    def drops_at_restart(self) -> bool:
        return True

    def start(self, *, receiver: bool, applier: bool) -> None:
        if self.receiver is STOPPED and self.applier is STOPPED:
            self.drop_relay_log()
        super().start(receiver=receiver, applier=applier)

    @property
    def position(self) -> Transaction | None:
        return self.relay[-1][0] if self.relay else self.slave_pos

    def committed(self, transaction: Transaction) -> None:
        self.slave_pos = transaction

    def demote(self) -> None:
        """MASTER_DEMOTE_TO_SLAVE: go on where the own binary log ends."""
        self.slave_pos = self._server.binlog[-1] if self._server.binlog else None

    @property
    def shown_retrieved(self) -> GtidSet:
        return one(self.relay[-1][0]) if self.relay else EMPTY_MARIADB

    def channels(self) -> tuple[Channel, ...]:
        if self.source is None:
            return ()
        return (
            Channel(
                source=self.source, user="repl", receiver=self.receiver, applier=self.applier,
                receiver_error_number=self.error_number, receiver_error=self.error, uses_gtid=True,
                retrieved=self.shown_retrieved, lag_s=self.lag_s, delay_s=self.delay_s,
                options=(*OPTIONS, ChannelOption("MASTER_DELAY", self.delay_s)),
            ),
        )  # fmt: skip

    def rows(self) -> list[dict[str, object]]:
        """SHOW ALL SLAVES STATUS."""
        if self.source is None:
            return []
        return [{
            "Connection_name": "", "Master_Host": self.source.hostname, "Master_Port": str(self.source.port),
            "Master_User": "repl", "Master_Server_Id": "0", "Slave_IO_Running": WORDS[self.receiver],
            "Slave_SQL_Running": WORDS[self.applier], "Last_IO_Errno": str(self.error_number),
            "Last_IO_Error": self.error, "Using_Gtid": "Slave_Pos", "Gtid_IO_Pos": str(self.shown_retrieved),
            "Master_SSL_Allowed": "Yes", "Connect_Retry": "1", "SQL_Delay": str(self.delay_s),
        }]  # fmt: skip


class MariadbServer(Server):
    empty: ClassVar[GtidSet] = EMPTY_MARIADB
    uses_new_words: ClassVar[bool] = False

    def new_replication(self) -> Replication:
        self.uuid, self.writer = "", f"{DOMAIN}{self.number}"
        return MariadbReplication(self)

    def next_transaction(self) -> Transaction:
        """Numbers rise through the whole domain, whoever writes."""
        newest = max((pairs[-1][1] for _, pairs in self.logged.lines), default=1)
        return (self.writer, newest)

    def may_be_source_of(self, has: GtidSet, position: Transaction | None) -> bool:
        del has
        return position is None or self.logged.covers(one(position))

    def _forget(self) -> None:
        super()._forget()
        self.init_connect = ""

    def turns_away(self, user: str) -> bool:
        return self.init_connect.startswith(MARK) and user != MANAGER

    def processes(self) -> list[dict[str, object]]:
        shown = super().processes()
        if self.replication.receiver is RUNNING:
            state = "Waiting for master to send event"
            shown.append({"Id": str(RECEIVER_ID), "User": "system user", "Command": "Slave_IO", "State": state})
        if self.pending and self.pending[0].session is None:
            shown.append({"Id": str(APPLIER_ID), "User": "system user", "Command": "Slave_SQL", "State": WAITING})
        return shown

    def kill_applier(self) -> None:
        """It ends, and so does its wait."""
        self.replication.stop(receiver=False, applier=True)
        if self.pending and self.pending[0].session is None:
            self._release()

    def kill_session(self, session: Session) -> None:
        waited = bool(self.pending) and self.pending[0].session is session
        self.end(session)
        if waited:
            self._release()

    def _release(self) -> None:
        """The commit that waited is over, and so are those behind it."""
        released, self.pending = self.pending, []
        for each in released:
            self.finish(each, "released")
        self.settle()

    def facts(self) -> Facts:
        """What it has executed is what its binary log has."""
        return self.facts_with(
            flavor=Flavor.MARIADB, version="10.11.19-MariaDB", server_uuid="", super_read_only=False, gtid_mode="",
            executed=self.logged, purged=None, binlog=Binlog(enabled=True, format="ROW", logs_replica_updates=True),
        )  # fmt: skip


def _change(call: Call, match: re.Match[str]) -> list[Row]:
    change_source(call, match)
    replication = call.server.replication
    if "MASTER_DEMOTE_TO_SLAVE = 1" in match[0] and isinstance(replication, MariadbReplication):
        replication.demote()
    return []


def _positions(call: Call, _match: re.Match[str]) -> list[Row]:
    return [{"gtid_binlog_state": str(call.server.logged), "gtid_slave_pos": ""}]


def _wait(call: Call, match: re.Match[str]) -> None:
    server, wanted = call.server, parse_mariadb(match["gtids"])

    def finish(error: int | None) -> None:
        call.reply([{"late": "0" if error is None else "-1"}])

    call.wait(lambda: server.executed.covers(wanted), finish, float(match["seconds"]))


def _ask_doors(call: Call, _match: re.Match[str]) -> list[Row]:
    assert isinstance(call.server, MariadbServer)
    return [{"init_connect": call.server.init_connect}]


def _set_doors(call: Call, match: re.Match[str]) -> list[Row]:
    assert isinstance(call.server, MariadbServer)
    call.server.init_connect = match["text"]
    return []


def _kill_receiver(call: Call, _match: re.Match[str]) -> list[Row]:
    call.server.replication.stop(receiver=True, applier=False)
    return []


def _kill_applier(call: Call, _match: re.Match[str]) -> list[Row]:
    assert isinstance(call.server, MariadbServer)
    call.server.kill_applier()
    return []


MariadbServer.statements = (
    words(
        (r"SET GLOBAL init_connect = '(?P<text>[^']*)'", _set_doors),
        (rf"KILL {RECEIVER_ID}", _kill_receiver),
        (rf"KILL {APPLIER_ID}", _kill_applier),
        (r"SHOW ALL SLAVES STATUS", show_channel),
        (r"CHANGE MASTER TO .*MASTER_HOST = '(?P<host>[^']*)', MASTER_PORT = (?P<port>\d+).*", _change),
        (
            r"SELECT @@global.gtid_binlog_state AS gtid_binlog_state, @@global.gtid_slave_pos AS gtid_slave_pos",
            _positions,
        ),
        (r"SELECT MASTER_GTID_WAIT\('(?P<gtids>[^']*)', (?P<seconds>[\d.]+)\) AS late", _wait),
        (r"SELECT @@global.init_connect AS init_connect", _ask_doors),
    )
    + COMMON
)

"""One connection to a database server: the only file that touches the driver.

What the driver lacks and this class adds
- It falls back to plain text in silence: here a server that does not offer the TLS we want is refused before it hears
  the user's name, and one that asks for the bare password over plain text never gets it.
- It has no deadlines beside that of the TCP connect: here the caller's deadline covers every wait, and a connection is
  aborted by any deadline, cancellation or error in the middle of an exchange. It is never shared.
- It does not notice that the server has closed an idle connection: ``watch`` tells at once.
- It takes anything for a server, and most of its time for a reply goes into column definitions: greeting and replies
  are read by parsers of our own (``greeting``, ``results``).
What remains of the driver is the login: its authentication methods and the switch to TLS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiomysql.connection
from pymysql.constants import CLIENT, COMMAND
from pymysql.err import Error as DriverError
from pymysql.err import MySQLError

from orchestrator_raft.core.instance import InstanceKey, UnreachableKind
from orchestrator_raft.mysql import failures, greeting
from orchestrator_raft.mysql.failures import BAD_CONNECTION, Phase, Unreached
from orchestrator_raft.mysql.results import Reply, ReplyParser
from orchestrator_raft.mysql.settings import MysqlSettings

PROGRAM = "orchestrator_raft"
READ_BYTES = 65536
CLOSE_TIMEOUT_S = 0.5
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))
_PLAIN_TEXT_PLUGINS = ("", "mysql_native_password", "caching_sha2_password", "sha256_password")
_ENCRYPTED_PLUGINS = (*_PLAIN_TEXT_PLUGINS, "mysql_clear_password")


class Connection(aiomysql.connection.Connection):  # type: ignore[misc]
    """A logged-in connection, or one on the way there. Every verb raises Unreached and leaves it aborted."""

    _reader: Any  # the driver has no types
    _writer: Any

    def __init__(self, key: InstanceKey, settings: MysqlSettings, context: ssl.SSLContext | None) -> None:
        super().__init__(
            host=key.hostname,
            port=key.port,
            user=settings.user,
            password=settings.password.encode().decode("latin1"),
            autocommit=None,
            ssl=context,
            program_name=PROGRAM,
            loop=asyncio.get_running_loop(),
        )
        self.key = key
        self.phase = Phase.CONNECTING
        self.server_version = ""
        self._reply_bytes_max = settings.reply_bytes_max
        self._transport: asyncio.WriteTransport | None = None

    def __repr__(self) -> str:
        return f"<Connection to {self.key}, {self.phase.value}{', closed' if self.is_closed else ''}>"

    @property
    def is_closed(self) -> bool:
        """Closed by us, or known to be closed by the server."""
        return self._reader is None or self._reader.at_eof() or self._reader.exception() is not None

    @property
    def offers_tls(self) -> bool:
        return bool(self.server_capabilities & CLIENT.SSL)

    @property
    def is_encrypted(self) -> bool:
        return bool(self._secure)

    # -- open and close ----------------------------------------------------------------------------------------------

    async def open(self, address: str, *, timeout_s: float) -> None:
        """Connect to one address, hear the greeting, log in."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connect_to(address)
        except BaseException as error:
            self.abort()
            if isinstance(error, Exception):
                raise self._failure(error) from error
            raise

    async def _connect_to(self, address: str) -> None:
        self._reader, self._writer = await asyncio.open_connection(address, self.key.port)
        self._transport = self._writer.transport
        connected = self._writer.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
        self.phase = Phase.GREETING
        await self._get_server_information()
        self.phase = Phase.LOGIN
        await self._request_authentication()
        self._transport = self._writer.transport
        self.phase = Phase.READY

    def abort(self) -> None:
        """Cut the connection off at once; nothing is sent any more."""
        current = self._writer.transport if self._writer is not None else None
        for transport in {self._transport, current}:
            if transport is not None:
                transport.abort()
        self._reader = self._writer = self._transport = None

    def quit(self) -> None:
        """Say goodbye, so that the server does not count an aborted client; does not wait."""
        if self.is_closed:
            self.abort()
            return
        self._next_seq_id = 0
        self.write_packet(bytes([COMMAND.COM_QUIT]))
        self._writer.transport.close()
        self._reader = self._writer = self._transport = None

    async def quit_and_wait(self, *, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Say goodbye and wait until the connection is gone, at most ``timeout_s`` seconds."""
        writer = self._writer
        self.quit()
        if writer is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await writer.wait_closed()
        except (TimeoutError, OSError):
            writer.transport.abort()

    def watch(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called once, as soon as the server closes or resets the connection."""
        reader = self._reader
        feed_eof, set_exception = reader.feed_eof, reader.set_exception
        told = False

        def tell() -> None:
            nonlocal told
            if not told and self._reader is reader:
                told = True
                listener()

        def on_eof() -> None:
            feed_eof()
            tell()

        def on_exception(error: Exception) -> None:
            set_exception(error)
            tell()

        reader.feed_eof, reader.set_exception = on_eof, on_exception
        if self.is_closed:
            self._loop.call_soon(tell)

    # -- queries -----------------------------------------------------------------------------------------------------

    async def query(self, sql: str, *, timeout_s: float, enough: int | None = None) -> Reply:
        """The results of one or several statements. An error of the server is part of the reply, not a failure.

        Where ``enough`` results have come by the deadline, they are the reply, cut off, though the connection is gone.
        """
        if self._writer is None:
            raise Unreached(UnreachableKind.RESET, BAD_CONNECTION)
        parser = ReplyParser(self._reply_bytes_max)
        try:
            async with asyncio.timeout(timeout_s):
                await self._exchange(sql, parser)
        except BaseException as error:
            self.abort()
            if isinstance(error, TimeoutError) and enough is not None and len(parser.reply.results) >= enough:
                return parser.reply
            if isinstance(error, Exception):
                raise self._failure(error) from error
            raise
        return parser.reply

    async def _exchange(self, sql: str, parser: ReplyParser) -> None:
        reader: asyncio.StreamReader = self._reader
        await self._execute_command(COMMAND.COM_QUERY, sql.encode())
        while not parser.done:
            data = await reader.read(READ_BYTES)
            if not data:
                raise Unreached(UnreachableKind.RESET, BAD_CONNECTION)
            parser.feed(data)

    def _failure(self, error: Exception) -> Unreached:
        if isinstance(error, TimeoutError):
            return failures.of_timeout(self.key, self.phase)
        if isinstance(error, greeting.NotAServer):
            return Unreached(UnreachableKind.NOT_A_SERVER, f"{self.key} is no database server: {error}")
        if isinstance(error, MySQLError | DriverError) and error.args and isinstance(error.args[0], int):
            number, *said = error.args
            return failures.of_server_error(self.key, self.phase, number, " ".join(str(word) for word in said))
        return failures.of_error(self.key, error)

    # -- seams in the driver -----------------------------------------------------------------------------------------

    async def _get_server_information(self) -> None:
        header = await self._reader.readexactly(greeting.HEADER_BYTES)
        body = await self._reader.readexactly(greeting.body_length(header))
        found = greeting.parse(body)
        if isinstance(found, greeting.Rejection):
            raise failures.of_server_error(self.key, self.phase, found.number, found.message)
        self._next_seq_id = 1
        self.server_version = found.version
        self.server_thread_id = (found.thread_id,)
        self.server_capabilities = found.capabilities
        self.server_status = found.status
        self.salt = found.salt
        self._server_auth_plugin = found.auth_plugin

    async def _request_authentication(self) -> None:
        if self._ssl_context is not None and not self.offers_tls:
            text = f"{self.key} does not offer TLS, which is required: nothing was sent to it"
            raise Unreached(UnreachableKind.TLS_MISSING, text)
        self._refuse_unsafe(self._server_auth_plugin, encrypted=self._ssl_context is not None)
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: object) -> object:
        self._refuse_unsafe(plugin_name.decode("latin1"), encrypted=self.is_encrypted)
        return await super()._process_auth(plugin_name, auth_packet)

    def _refuse_unsafe(self, plugin: str, *, encrypted: bool) -> None:
        allowed = _ENCRYPTED_PLUGINS if encrypted else _PLAIN_TEXT_PLUGINS
        if plugin not in allowed or not self.server_capabilities & CLIENT.PLUGIN_AUTH:
            how = "" if encrypted else " without TLS"
            text = f"{self.key} asks for the login method '{plugin}', which is not used{how}"
            raise Unreached(UnreachableKind.AUTHENTICATION, text)

"""Host names to addresses, within a deadline, whatever the resolver does.

The system's resolver may take half a minute, and nothing can stop it. So each look-up has a thread of its own that
nobody waits for at the end of the process, there is at most one look-up for a name at a time, and a limit to how many
run. An address in figures needs none of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable

from orchestrator_raft.core.instance import UnreachableKind
from orchestrator_raft.mysql.failures import Unreached

LOOK_UPS_MAX = 64

LookUp = Callable[[str], list[str]]


def system_look_up(host: str) -> list[str]:
    """The addresses of a host, as the system prefers them. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Names:
    """Looks up names, each in one thread at a time."""

    def __init__(self, look_up: LookUp = system_look_up) -> None:
        self._look_up = look_up
        self._running: dict[str, asyncio.Future[list[str]]] = {}

    def __repr__(self) -> str:
        return f"<Names, {len(self._running)} look-ups under way>"

    async def addresses(self, host: str) -> list[str]:
        """Addresses to try, in this order. Raises OSError, or Unreached where too many look-ups hang already."""
        if is_address(host):
            return [host]
        running = self._running.get(host) or self._start(host)
        await asyncio.wait({running})
        return running.result()

    def _start(self, host: str) -> asyncio.Future[list[str]]:
        if len(self._running) >= LOOK_UPS_MAX:
            text = f"lookup {host}: i/o timeout: {LOOK_UPS_MAX} other look-ups are waiting for the name servers"
            raise Unreached(UnreachableKind.UNRESOLVABLE, text)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()
        self._running[host] = future
        future.add_done_callback(lambda _future: self._running.pop(host, None))
        threading.Thread(target=self._run, args=(loop, future, host), name=f"look up {host}", daemon=True).start()
        return future

    def _run(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[list[str]], host: str) -> None:
        try:
            outcome: list[str] | OSError = self._look_up(host)
        except (OSError, UnicodeError) as error:
            outcome = error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error))
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile; nobody waits any more
            loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[list[str]], outcome: list[str] | OSError) -> None:
    if future.done():
        return
    if isinstance(outcome, OSError):
        future.set_exception(outcome)
        future.exception()  # whoever waited may have gone; then nobody else looks at it
    else:
        future.set_result(outcome)


def is_address(host: str) -> bool:
    """Whether this is an address in figures, IPv4 or IPv6."""
    try:
        ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    return True

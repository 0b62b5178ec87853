"""``ports.Addresses``: the addresses of a host, the same ones for as long as they are its addresses.

Of several the smallest counts, since name servers answer in changing order. Where a look-up fails, what was found
before is still the best that is known.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

KNOWN_MAX = 10_000


class HostAddresses:
    """Looks hosts up as this machine does."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    async def look_up(self, hostname: str, *, timeout_s: float) -> tuple[str, str]:
        try:
            literal = ipaddress.ip_address(hostname)
        except ValueError:
            return await self._resolved(hostname, timeout_s)
        return (hostname, "") if literal.version == 4 else ("", hostname)

    async def _resolved(self, hostname: str, timeout_s: float) -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                answers = await loop.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError):
            return self._known.get(hostname, ("", ""))
        hosts = [(answer[0], str(answer[4][0])) for answer in answers]
        ipv4, ipv6 = (
            min((host for each, host in hosts if each == family), default="")
            for family in (socket.AF_INET, socket.AF_INET6)
        )
        found = ipv4, ipv6
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[hostname] = found
        return found

"""Opening a connection to a node, and whether anything may be said there at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator_raft.raft.identity import resolve_address
from orchestrator_raft.raft.security import Security
from orchestrator_raft.raft.settings import Address

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_to(address: Address, security: Security) -> Streams:
    """The first of its IP addresses that answers. Raises OSError, or StartupError where nothing may be said."""
    addresses = sorted(await resolve_address(address))
    if not addresses:
        raise OSError(f"{address.host} does not resolve")
    tls = security.client_context()
    failure: OSError | None = None
    for ip in addresses:
        security.check(address, ip)
        try:
            return await asyncio.open_connection(
                ip, address.port, ssl=tls, server_hostname=address.host if tls is not None else None
            )
        except OSError as error:
            failure = error
    assert failure is not None
    raise failure


async def check_security(security: Security, addresses: Sequence[Address]) -> None:
    """Raises StartupError if one of them may not be talked to as things are set up."""
    for address in addresses:
        if address.is_wildcard:
            security.check(address, address.host)
    found = await asyncio.gather(*(resolve_address(address) for address in addresses))
    for address, ips in zip(addresses, found, strict=True):
        for ip in ips:
            security.check(address, ip)

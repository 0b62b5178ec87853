"""Failed logins slow down: each wrong password of an address makes the answer to the next one from there later.

Rules
- A right password is answered at once, however many wrong ones came before: a monitor behind the same proxy as somebody
  who guesses goes on working, unless so many wrong ones wait there that guessing would not be slowed any more.
- What waits is bounded, for one address and in all; beyond that an attempt is turned away unread, with 429.
- What is remembered is bounded: the addresses heard of last, an IPv6 network of 64 bits counting as one.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_FAILURES = 3
"""People mistype."""
FIRST_DELAY_S = 0.1
FORGET_AFTER_S = 600.0
ADDRESSES_MAX = 4096
WAITING_PER_ADDRESS_MAX = 16
WAITING_MAX = 512
RETRY_AFTER_S = 3


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_s: float = 0.0
    waiting: int = 0


class Logins:
    """Failed logins by address."""

    def __init__(
        self,
        monotonic_s: Callable[[], float],
        *,
        delay_max_s: float,
    ) -> None:
        self._monotonic_s = monotonic_s
        self._delay_max_s = delay_max_s
        self._by_address: OrderedDict[str, _Failures] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._by_address)

    def is_crowded(self, remote: str) -> bool:
        """Whether so many wrong passwords wait already that this attempt is not even looked at."""
        found = self._by_address.get(_network(remote))
        if found is None:
            return False
        return found.waiting >= WAITING_PER_ADDRESS_MAX or (
            self._waiting >= WAITING_MAX and found.count > FREE_FAILURES
        )

    def failed(self, remote: str) -> float:
        """Take note of a wrong password; gives the seconds for which its answer is to be held back."""
        network, now_s = _network(remote), self._monotonic_s()
        found = self._by_address.pop(network, None) or _Failures()
        if now_s - found.last_s > FORGET_AFTER_S:
            found.count = 0
        found.count, found.last_s = found.count + 1, now_s
        self._by_address[network] = found
        while len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        return delay_s(found.count, self._delay_max_s)

    async def hold_back(self, remote: str) -> None:
        """Take note of a wrong password and wait as long as its answer has to."""
        seconds = self.failed(remote)
        if seconds <= 0 or self._waiting >= WAITING_MAX:
            return
        found = self._by_address[_network(remote)]
        found.waiting += 1
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            found.waiting -= 1
            self._waiting -= 1


def delay_s(count: int, most_s: float) -> float:
    """How long the answer to the ``count``-th wrong password in a row is held back."""
    over = count - FREE_FAILURES
    return 0.0 if over <= 0 else min(most_s, FIRST_DELAY_S * 2.0 ** min(over - 1, 10))


def _network(remote: str) -> str:
    if ":" not in remote:
        return remote
    address = ipaddress.IPv6Address(remote.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))

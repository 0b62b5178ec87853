"""What the product takes from its surroundings without a port, replaced while a run lasts.

Ids come from the seed, a node's clock is that of the loop that runs, and the order of sets of addresses is the same in
every process, whatever seed Python has drawn for the hashes of texts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.engine import proposals
from orchestrator_raft.raft import driver, status
from tests.seeded.planting import Patches


class SeededSecrets:
    """``token_hex`` of the module secrets."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(f"ids {seed}")

    def token_hex(self, count: int) -> str:
        return f"{self._dice.getrandbits(8 * count):0{2 * count}x}"


def _clock_of_the_loop() -> float:
    return asyncio.get_running_loop().time()


def _hash(key: InstanceKey) -> int:
    return key.port


@contextmanager
def surroundings(seed: int) -> Iterator[None]:
    patches = Patches()
    patches.put(proposals, "secrets", SeededSecrets(seed))
    patches.put(driver, "boot_time_s", _clock_of_the_loop)
    patches.put(status, "boot_time_s", _clock_of_the_loop)
    patches.put(InstanceKey, "__hash__", _hash)
    try:
        yield
    finally:
        patches.take_back()

"""Every test of the engine runs in virtual time, on one bench of twins that is taken down after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest_asyncio

from tests.engine.bench import Bench
from tests.engine.virtual import VirtualLoop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    """One primary on port 24000 with three replicas; node n1 leads n2 and n3."""
    made = Bench()
    yield made
    await made.close()

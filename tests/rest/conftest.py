"""Fixtures: nodes that are up, shared by the tests of a module where nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.rest.rig import Rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reading() -> AsyncIterator[Rig]:
    """Three nodes that know a healthy fleet; for tests that only read."""
    async with Rig(3) as rig:
        await rig.discovered()
        yield rig

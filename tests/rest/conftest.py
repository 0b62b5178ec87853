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
        for tag in ("role=web", "127.0.0.1:24000"):
            assert (await rig.first.get(f"/api/tag/127.0.0.1/24001?tag={tag}")).status == 200
        yield rig

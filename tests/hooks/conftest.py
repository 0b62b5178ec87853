"""The hooks of a test with their owner, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
import uvloop

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.hooks.commands import CommandHooks, HookSettings
from orchestrator_raft.tasks import Tasks
from tests.hooks.story import Bench, MakeBench


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Processes are a matter of the loop: the product runs on uvloop, where there is one."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def make_bench() -> AsyncIterator[MakeBench]:
    benches: list[Bench] = []

    def make(lists: Mapping[str, Sequence[str]], **settings: Any) -> Bench:
        failures: list[BaseException] = []
        audited: list[tuple[InstanceKey, str]] = []

        async def audit(key: InstanceKey, text: str) -> None:
            audited.append((key, text))

        tasks = Tasks("hooks of a test", lambda name, failure: failures.append(failure))
        facts_of = settings.pop("facts_of", lambda key: None)
        hooks = CommandHooks(HookSettings(lists=lists, **settings), tasks, audit, facts_of)
        benches.append(Bench(hooks, tasks, audited, failures))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.tasks.close()
        assert [] == bench.failures

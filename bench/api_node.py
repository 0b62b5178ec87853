"""A node of the API bench: ``python -m bench.api_node serve --config FILE``, where ``FLEET`` says how many servers.

It is the product's own node in everything but the prober: servers answer from a table, as healthy ones do, so that a
large fleet needs no database servers. What is done with the answers, Raft and HTTP are the real ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from itertools import count
from typing import Any

from bench.decisions import healthy
from bench.raft_machine import REPLICAS_PER_PRIMARY, fleet
from orchestrator_raft import cli
from orchestrator_raft.core.instance import Facts, InstanceKey, ProbeResult, Unreachable, UnreachableKind
from orchestrator_raft.core.topology import ServerRecord

FLEET = "ORCHESTRATOR_BENCH_FLEET"
"""How many servers there are."""


class FleetProber:
    """Answers for servers that do not exist."""

    def __init__(self, *_connector: Any, **_reports: Any) -> None:
        self._facts = fleet_facts(int(os.environ[FLEET]))
        self._numbers = count(1)

    async def probe(self, key: InstanceKey, *, timeout_s: float) -> ProbeResult:
        facts = self._facts.get(key)
        if facts is None:
            return Unreachable(key, UnreachableKind.REFUSED, f"no such server, within {timeout_s} s")
        return healthy(ServerRecord(key=key, facts=facts), next(self._numbers))

    async def try_connect(self, key: InstanceKey, *, timeout_s: float) -> Unreachable | None:
        result = await self.probe(key, timeout_s=timeout_s)
        return result if isinstance(result, Unreachable) else None

    def on_closed(self, listener: Callable[[InstanceKey], None]) -> None:
        """Nothing is ever closed here."""

    def forget(self, key: InstanceKey) -> None:
        """There is nothing to forget."""

    async def close(self) -> None:
        """There is nothing to close."""


def fleet_facts(instances: int) -> dict[InstanceKey, Facts]:
    """What is known of each; a primary names its replicas, so that they are found through it."""
    observed = [each for command in fleet(instances) for each in command.servers]
    known = {each.key: each.facts for each in observed if each.facts is not None}
    keys = list(known)
    size = REPLICAS_PER_PRIMARY + 1
    for first in range(0, len(keys), size):
        known[keys[first]] = replace(known[keys[first]], replicas=tuple(keys[first + 1 : first + size]))
    return known


def primaries(instances: int) -> list[InstanceKey]:
    """Of each cluster one."""
    return [key for key, facts in fleet_facts(instances).items() if facts.replicas]


if __name__ == "__main__":
    import_module("orchestrator_raft.app.run").__dict__["MysqlProber"] = FleetProber
    cli.main()

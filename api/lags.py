"""What has changed of lag and reachability since the look before, worked out once for all event streams."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.engine.sight import Glimpse

Glimpses = Mapping[InstanceKey, Glimpse]


class Lags:
    """The newest look, and how it differs from the one before."""

    def __init__(self) -> None:
        self.number = 0
        """Counts the looks that brought something new."""
        self._newest: Glimpses = {}
        self._changed: Glimpses = {}

    def look(self, glimpses: Glimpses) -> None:
        """Take note of what the leader sees now."""
        if glimpses is self._newest:
            return
        changed = {key: each for key, each in glimpses.items() if self._newest.get(key) != each}
        self._newest = glimpses
        if changed:
            self.number, self._changed = self.number + 1, changed

    def since(self, number: int) -> Glimpses:
        """What has changed since that number; everything where that is more than one look ago."""
        if number == self.number:
            return {}
        return self._changed if number == self.number - 1 and number > 0 else self._newest

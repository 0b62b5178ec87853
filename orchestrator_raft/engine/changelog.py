"""How the analysis of each server changed while this node has led: for people who ask what happened when."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator_raft.core.analysis import Diagnosis
from orchestrator_raft.core.instance import InstanceKey

CHANGES_MAX = 50
"""Of one server."""


@dataclass(frozen=True, slots=True)
class AnalysisChange:
    """From ``at_ms`` on a server had this code, and these structure warnings."""

    at_ms: int
    code: str
    warnings: tuple[str, ...] = ()


class Changelog:
    """Notes a server's analysis when it is another than before."""

    def __init__(self) -> None:
        self._changes: dict[InstanceKey, deque[AnalysisChange]] = {}
        self._last: dict[InstanceKey, Diagnosis] = {}

    def note(self, diagnoses: Iterable[Diagnosis], now_ms: int) -> None:
        """What a look found. Of a server that this node has not probed yet nothing is said."""
        current = {each.situation.key: each for each in diagnoses}
        for key, diagnosis in current.items():
            known = self._last.get(key)
            if known is diagnosis or diagnosis.situation.server.observation is None:
                continue
            if known is None or (known.code, known.warnings) != (diagnosis.code, diagnosis.warnings):
                changes = self._changes.setdefault(key, deque(maxlen=CHANGES_MAX))
                changes.append(AnalysisChange(now_ms, diagnosis.code, diagnosis.warnings))
            self._last[key] = diagnosis
        for key in [key for key in self._changes if key not in current]:
            del self._changes[key]
            self._last.pop(key, None)

    @property
    def changes(self) -> Mapping[InstanceKey, tuple[AnalysisChange, ...]]:
        """By server, oldest first."""
        return {key: tuple(changes) for key, changes in sorted(self._changes.items())}

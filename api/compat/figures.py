"""Figures of probes and changes of analysis, as the compatible API shows them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.engine.changelog import AnalysisChange
from orchestrator_raft.engine.figures import ProbeFigure, QueueFigure

from .go import ZERO_TIME, Json, key_json, timestamp


def probe_json(figure: ProbeFigure, _scene: Any) -> Json:
    """There is no backend database, so all of the time is the server's."""
    return {
        "Timestamp": _moment(figure.at_ms),
        "Hostname": figure.key.hostname,
        "Port": figure.key.port,
        "BackendLatencySeconds": 0,
        "InstanceLatencySeconds": _number(figure.total_s),
        "TotalLatencySeconds": _number(figure.total_s),
        "Err": figure.error or None,
    }


def queue_json(figure: QueueFigure, _scene: Any) -> Json:
    return {"Active": figure.active, "Queued": figure.waiting}


def _moment(at_ms: int) -> str:
    """RFC 3339 with as many digits as there are, as Go writes a time."""
    text = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"


def probes_aggregated(figures: Sequence[ProbeFigure], _scene: Any) -> Json:
    good = [each for each in figures if not each.error]
    bad = [each for each in figures if each.error]
    good_keys, bad_keys = {each.key for each in good}, {each.key for each in bad}
    shown: dict[str, Json] = {
        "FirstSeen": _moment(figures[0].at_ms) if figures else ZERO_TIME,
        "LastSeen": _moment(figures[-1].at_ms) if figures else ZERO_TIME,
        "CountDistinctInstanceKeys": len(good_keys | bad_keys),
        "CountDistinctOkInstanceKeys": len(good_keys),
        "CountDistinctFailedInstanceKeys": len(bad_keys),
        "FailedDiscoveries": len(bad),
        "SuccessfulDiscoveries": len(good),
    }
    for name, function in (("Mean", _mean), ("Max", _max), ("Median", _median), ("P95", _p95)):
        for prefix, chosen in (("", good), ("Failed", bad)):
            value = _number(function([each.total_s for each in chosen]))
            shown |= {
                f"{prefix}{name}TotalSeconds": value,
                f"{prefix}{name}BackendSeconds": 0,
                f"{prefix}{name}InstanceSeconds": value,
            }
    return shown


def queue_aggregated(figures: Sequence[QueueFigure], _scene: Any) -> Json:
    shown: dict[str, Json] = {}
    for name, values in (
        ("Active", [float(each.active) for each in figures]),
        ("Queued", [float(each.waiting) for each in figures]),
    ):
        shown |= {
            f"{name}MinEntries": _number(min(values, default=0.0)),
            f"{name}MeanEntries": _number(_mean(values)),
            f"{name}MedianEntries": _number(_median(values)),
            f"{name}P95Entries": _number(_p95(values)),
            f"{name}MaxEntries": _number(_max(values)),
        }
    return shown


def _number(value: float) -> float:
    """Go writes a whole number without a point."""
    return int(value) if value == int(value) else value


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _max(values: Sequence[float]) -> float:
    return max(values, default=0.0)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def _p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    if not values:
        return 0.0
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def changelog_json(changes: Sequence[tuple[InstanceKey, Sequence[AnalysisChange]]], _scene: Any) -> Json:
    """None where nothing was analysed yet."""
    return [
        {
            "AnalyzedInstanceKey": key_json(key),
            "Changelog": [f"{timestamp(each.at_ms)};{each.code},{','.join(each.warnings)}" for each in of_server],
        }
        for key, of_server in changes
    ] or None

"""What people set, as the compatible API shows it: maintenance, promotion rules, pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.core.topology import Maintenance, RegisteredRule

from .go import Json, key_json, keys_json, timestamp
from .shown import Scene


def maintenance_json(mark: Maintenance, scene: Scene) -> Json:
    return {
        "MaintenanceId": mark.number,
        "Key": key_json(mark.key),
        "BeginTimestamp": timestamp(mark.begun_ms),
        "SecondsElapsed": max(0, scene.moment.now_ms - mark.begun_ms) // 1000,
        "IsActive": True,
        "Owner": mark.owner,
        "Reason": mark.reason,
    }


def rule_json(mark: RegisteredRule, _scene: Scene) -> Json:
    return {
        "Hostname": mark.key.hostname,
        "Port": mark.key.port,
        "PromotionRule": mark.rule.value,
        "LastSuggestedString": timestamp(mark.set_ms),
        "PromotionRuleExpiry": timestamp(mark.ends_ms),
    }


def pools_json(pools: Mapping[str, Iterable[InstanceKey]], _scene: Any) -> Json:
    return {name: keys_json(members) for name, members in pools.items()}

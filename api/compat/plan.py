"""The plan of an operation, in the compatible API's style. The peers have no such thing."""

from __future__ import annotations

from orchestrator_raft.core.moves.model import Plan

from .go import Json, key_json, keys_json
from .shown import Scene


def plan_json(plan: Plan, _scene: Scene) -> Json:
    return {
        "Text": plan.text,
        "How": plan.how,
        "Stages": [
            {
                "Text": stage.text,
                "Steps": [str(act) for act in stage.acts],
                "Undo": [str(act) for act in stage.undo],
            }
            for stage in plan.stages
        ],
        "Servers": keys_json(plan.movers),
        "LeftOut": [{"Key": key_json(each.key), "Reason": each.reason} for each in plan.left_out],
        "Warnings": list(plan.warnings),
        "ExpectedBlockSeconds": plan.block_s,
    }

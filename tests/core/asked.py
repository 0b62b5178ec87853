"""The law of ``rules.asked``: no rule holds for a server of which it is not asked."""

from __future__ import annotations

from orchestrator_raft.core.analysis import RULES, Situation
from orchestrator_raft.core.analysis.rules import asked


def holding_unasked(situation: Situation) -> list[str]:
    """Rules that hold, and are not asked for lack of what shows at first sight: there must be none."""
    unasked = (rule for rule in RULES if rule not in asked(situation.sight))
    return [rule.code for rule in unasked if rule.predicate(situation) is not None]

"""What is wrong? Rules, structure warnings, and who has to agree before anything is done about it."""

from orchestrator_raft.core.analysis.again import analyze
from orchestrator_raft.core.analysis.analyze import Diagnosis, Problem, diagnose
from orchestrator_raft.core.analysis.confirm import Confirmed, Eyes, Refuted, Unconfirmed, WitnessAnswer, confirm
from orchestrator_raft.core.analysis.errant import errant_gtids
from orchestrator_raft.core.analysis.rules import NO_PROBLEM, RULE_BY_CODE, RULES, Confirmation, Rule, Severity
from orchestrator_raft.core.analysis.situation import Situation, is_lagging, situate
from orchestrator_raft.core.analysis.warnings import STRUCTURE_WARNINGS, Weakness, structure_warnings

__all__ = [
    "NO_PROBLEM",
    "RULES",
    "RULE_BY_CODE",
    "STRUCTURE_WARNINGS",
    "Confirmation",
    "Confirmed",
    "Diagnosis",
    "Eyes",
    "Problem",
    "Refuted",
    "Rule",
    "Severity",
    "Situation",
    "Unconfirmed",
    "Weakness",
    "WitnessAnswer",
    "analyze",
    "confirm",
    "diagnose",
    "errant_gtids",
    "is_lagging",
    "situate",
    "structure_warnings",
]

"""Carries out the operations of ``orchestrator_raft.operations``: one handler a row, bound by name."""

from orchestrator_raft.engine.service.calls import Call, Person, Reply
from orchestrator_raft.engine.service.dispatch import Service

__all__ = ["Call", "Person", "Reply", "Service"]

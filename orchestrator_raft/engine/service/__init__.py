"""Carries out the operations of ``orchestrator_raft.operations``: one handler a row, bound by name."""

from orchestrator_raft.engine.service.calls import (
    WAIT_S,
    Call,
    NotKnown,
    NotReached,
    Person,
    Reply,
    parse_flag,
    typed_arguments,
)
from orchestrator_raft.engine.service.dispatch import Service, is_bound

__all__ = [
    "WAIT_S",
    "Call",
    "NotKnown",
    "NotReached",
    "Person",
    "Reply",
    "Service",
    "is_bound",
    "parse_flag",
    "typed_arguments",
]

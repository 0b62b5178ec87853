"""The replicated log: what may be said in it, what follows from that, and nothing that could differ between nodes."""

from orchestrator_raft.core.replicated.apply import apply
from orchestrator_raft.core.replicated.commands import COMMANDS, Command
from orchestrator_raft.core.replicated.state import Result, State

__all__ = ["COMMANDS", "Command", "Result", "State", "apply"]

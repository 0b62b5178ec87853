"""The replicated log: what may be said in it, what follows from that, and nothing that could differ between nodes."""

from orchestrator_raft.core.replicated.apply import apply
from orchestrator_raft.core.replicated.commands import COMMANDS as ENGINE_COMMANDS
from orchestrator_raft.core.replicated.commands import Command
from orchestrator_raft.core.replicated.policy_commands import POLICY_COMMANDS
from orchestrator_raft.core.replicated.state import Result, State

COMMANDS = (*ENGINE_COMMANDS, *POLICY_COMMANDS)

__all__ = ["COMMANDS", "Command", "Result", "State", "apply"]

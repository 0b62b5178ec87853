"""Keys about what nodes and replicas see, where they see different things."""

from __future__ import annotations

from orchestrator_raft.config.keys import key
from orchestrator_raft.config.service import Group


class Eyes(Group):
    """New in orchestrator_raft: several eyes"""

    give_leadership_away: bool = key(
        "GiveLeadershipAway",
        True,
        "Hand the leadership to a node that reaches more primaries than the leader, at most once in ten minutes.",
    )
    restart_receivers_on_doubt: bool = key(
        "RestartReceiversOnDoubt",
        True,
        "Have replicas connect anew, one at a time, that say they hear a primary which no node reaches; not those that "
        "are delayed, in downtime, backups or stopped, and only in clusters of RecoverMasterClusterFilters.",
    )

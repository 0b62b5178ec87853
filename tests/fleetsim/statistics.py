"""What happened in a run, counted: a simulator whose faults do not happen proves nothing."""

from __future__ import annotations

from dataclasses import dataclass

from tests.seeded.outcomes import Counts


@dataclass(slots=True)
class Statistics(Counts):
    connections: int = 0
    late_frames_dropped: int = 0
    terms: int = 0
    commands: int = 0
    acknowledged: int = 0
    acknowledged_alone: int = 0
    writes_refused: int = 0
    statements: int = 0
    openings: int = 0
    recoveries: int = 0
    failovers: int = 0
    takeovers: int = 0
    rejoins: int = 0
    undone: int = 0
    failed: int = 0
    quarantined: int = 0
    abandoned: int = 0
    resumed: int = 0
    blocked: int = 0
    losses_allowed: int = 0
    dropped_by_restarts: int = 0
    server_kills: int = 0
    server_power_losses: int = 0
    server_freezes: int = 0
    node_kills: int = 0
    kills_inside: int = 0
    node_pauses: int = 0
    pauses_inside: int = 0
    node_freezes: int = 0
    wall_steps: int = 0
    double_deaths: int = 0
    intermediate_kills: int = 0
    server_storms: int = 0
    member_changes: int = 0
    node_storms: int = 0
    server_disks_full: int = 0
    errant_writes: int = 0
    cuts: int = 0
    slow_links: int = 0
    slow_appliers: int = 0
    semi_sync_changes: int = 0
    operations: int = 0
    operations_refused: int = 0
    hooks: int = 0
    helped: int = 0
    """Clusters that needed a person in the end, who did what the manager says."""

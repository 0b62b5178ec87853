"""What happened in a run, counted: a simulator whose faults do not happen proves nothing."""

from __future__ import annotations

from dataclasses import dataclass

from tests.seeded.outcomes import Counts


@dataclass(slots=True)
class Statistics(Counts):
    terms_led: int = 0
    authorities: int = 0
    acknowledged: int = 0
    reads: int = 0
    unknown_outcomes: int = 0
    resubmissions: int = 0
    kills: int = 0
    kills_inside: int = 0
    power_losses: int = 0
    groups_lost: int = 0
    disks_full: int = 0
    disks_hung: int = 0
    disks_slow: int = 0
    snapshots_damaged: int = 0
    disks_emptied: int = 0
    disks_let_in_again: int = 0
    kills_at_start: int = 0
    upgrades: int = 0
    levels_reached: int = 0
    snapshots_taken: int = 0
    snapshots_installed: int = 0
    pauses: int = 0
    freezes: int = 0
    wall_steps: int = 0
    cuts: int = 0
    one_way_cuts: int = 0
    bridges: int = 0
    flaps: int = 0
    delay_spikes: int = 0
    connections: int = 0
    late_frames_dropped: int = 0
    transfers: int = 0
    member_changes: int = 0
    changes_refused: int = 0
    histories_undecided: int = 0
    """Too long for the check of linearizability."""

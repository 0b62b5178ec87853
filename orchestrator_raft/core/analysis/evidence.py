"""What predicates return, and the sentences that several of them say.

Evidence is a tuple of short sentences for people; None means that the problem does not hold. The sentences name
servers by address, times in seconds, and errors with the server's own number and text.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator_raft.core.analysis.situation import Situation
from orchestrator_raft.core.topology import Server

Evidence = tuple[str, ...]
SHOWN_MAX = 5


def names(servers: Iterable[Server]) -> str:
    """Up to five addresses, and how many more."""
    keys = [str(server.key) for server in servers]
    shown = ", ".join(keys[:SHOWN_MAX])
    return shown if len(keys) <= SHOWN_MAX else f"{shown} and {len(keys) - SHOWN_MAX} more"


def unreached(s: Situation) -> str:
    """Why the server gave no facts."""
    if s.observation is None:
        return f"{s.key} has not been probed yet"
    return f"{s.key} does not answer ({getattr(s.observation.result, 'detail', '')})"


def mute_replicas(s: Situation) -> Evidence:
    """Its replicas, when none of them replicates: which answer, which hear nothing, which are out of reach."""
    silent = {server.key for server in s.silent}
    stopped = tuple(replica for replica in s.valid if replica.key not in silent)
    dead = tuple(replica for replica in s.replicas if not replica.reached)
    said = (f"not replicating: {names(stopped)}",) if stopped else ()
    said = (*said, *(hears_nothing(replica) for replica in s.silent))
    return (*said, f"not reachable either: {names(dead)}") if dead else said


def hears_nothing(replica: Server) -> str:
    """About a receiver that runs and is silent."""
    period_s = replica.channel.heartbeat_period_s if replica.channel is not None else None
    silence_s = replica.observation.silence_s if replica.observation is not None else 0.0
    return (
        f"{replica.key} says that it is connected, but has heard nothing for {silence_s:.1f} s "
        f"(a heartbeat is due every {period_s or 0:g} s)"
    )

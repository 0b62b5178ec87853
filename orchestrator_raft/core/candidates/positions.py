"""The choice among replicas of one source that replicate by file and position, so that GTIDs tell nothing about them.

Theory. Coordinates in the binary log of the one source that they shared order what its replicas have: of two, the one
further on has everything the other has. That holds for nobody else, and it ends with that source: a replica can go
below another only if both stand at exactly the same place when everything received is executed, from where the other's
own log stands then. So data first: the one furthest on is chosen; who stands elsewhere stays behind and is named. What
only an unfit one has is lost with the choice, and people, or the loss policy, have to accept that.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator_raft.core.candidates.choose import Refusal, can_replicate_from, unfit
from orchestrator_raft.core.instance import PROMOTION_ORDER, Coordinates, Flavor, InstanceKey
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server

Place = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionVerdict:
    """The choice. ``best`` is None when nobody is fit."""

    best: InstanceKey | None = None
    followers: tuple[InstanceKey, ...] = ()
    """Who can go below it, itself included."""
    refused: tuple[Refusal, ...] = ()
    unsaved: str = ""
    """Who has more than the best one; empty when nobody does."""


def is_by_position(servers: tuple[Server, ...]) -> bool:
    """They all replicate by position. MySQL's GTIDs are good even then; MariaDB's do not tell what was received."""
    return bool(servers) and all(_is_by_position(server) for server in servers)


def _is_by_position(server: Server) -> bool:
    facts, channel = server.fresh, server.channel
    if facts is None or channel is None or channel.uses_gtid:
        return False
    return facts.executed is None or facts.flavor is Flavor.MARIADB


def place(coordinates: Coordinates) -> Place | None:
    """The number of the file and the position in it, to be compared; None where there are none."""
    number = coordinates.log_file.rpartition(".")[2]
    return (int(number), coordinates.log_position) if number.isdecimal() else None


def choose_by_position(
    failed: Server,
    drained: tuple[Server, ...],
    others: tuple[Server, ...],
    policy: Policy,
    designated: InstanceKey | None = None,
) -> PositionVerdict:
    """``drained`` are stopped and have executed all they received; ``others`` are too slow, and count for what they
    received."""
    reasons = {server.key: _unfit(server, failed, policy, designated) for server in drained}
    fit = [server for server in drained if not reasons[server.key]]
    refused = [Refusal(key, reason) for key, reason in reasons.items() if reason]
    refused += [Refusal(server.key, "it has not executed all that it received") for server in others]
    best = min(fit, key=lambda server: _rank(server, failed, drained), default=None)
    if best is None:
        return PositionVerdict(refused=tuple(refused))
    stands = _executed(best)
    reached = [(each.key, _executed(each)) for each in drained] + [(each.key, _received(each)) for each in others]
    unsaved = "; ".join(f"{key} has up to {upto}" for key, upto in reached if _is_further(upto, stands))
    followers = tuple(each.key for each in drained if _executed(each) == stands and _shares_source(each, failed))
    refused += [_stays(each, best, followers) for each in fit if each.key != best.key]
    said = f"{best.key} stands at {stands}: {unsaved}" if unsaved else ""
    return PositionVerdict(best=best.key, followers=followers, refused=tuple(refused), unsaved=said)


def _unfit(server: Server, failed: Server, policy: Policy, designated: InstanceKey | None) -> str:
    if not _shares_source(server, failed):
        return f"it does not replicate from {failed.key}, so its position says nothing"
    if place(_executed(server)) is None:
        return "it does not say how far it is"
    reason = unfit(server, failed, policy, by_position=True)
    return reason or (f"{designated} was asked for" if designated not in (None, server.key) else "")


def _shares_source(server: Server, failed: Server) -> bool:
    """By the server that the address in its channel stands for: that may be another name of it."""
    return server.channel is not None and server.source == failed.key


def _executed(server: Server) -> Coordinates:
    return server.channel.executed if server.channel is not None else Coordinates()


def _received(server: Server) -> Coordinates:
    return server.channel.read if server.channel is not None else Coordinates()


def _is_further(one: Coordinates, other: Coordinates) -> bool:
    return (place(one) or (0, 0)) > (place(other) or (0, 0))


def _rank(server: Server, failed: Server, drained: tuple[Server, ...]) -> tuple[object, ...]:
    """Smaller is better; the last element makes the order total."""
    facts = server.facts
    if facts is None:
        raise ValueError(f"{server.key} was ranked without facts")
    number, position = place(_executed(server)) or (0, 0)
    cut_off = sum(1 for each in drained if each.facts is not None and not can_replicate_from(each.facts, facts))
    same_place = failed.facts is not None and facts.location == failed.facts.location
    return -number, -position, cut_off, PROMOTION_ORDER[facts.promotion_rule], not same_place, server.key


def _stays(server: Server, best: Server, followers: tuple[InstanceKey, ...]) -> Refusal:
    if server.key in followers:
        return Refusal(server.key, f"{best.key} is preferred")
    return Refusal(server.key, f"it stands at {_executed(server)}, and {best.key} at {_executed(best)}")

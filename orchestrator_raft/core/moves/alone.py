"""Plans for one server that stays where it is: its threads, its doors, its semi-sync.

Theory. Most of these are one stage that can be put back. What cannot be (a transaction skipped, a binary log deleted)
is a stage that says so, and comes only after everything that could still be refused.
"""

from __future__ import annotations

from orchestrator_raft.core.instance import Channel, Facts, Flavor, ThreadState
from orchestrator_raft.core.moves.check import acknowledges, is_stopped, may_be_needed, too_few_ackers
from orchestrator_raft.core.moves.model import Act, Plan, Planned, Refusal, Stage, Verb, Wish
from orchestrator_raft.core.moves.one import DROPS, drained
from orchestrator_raft.core.policy import Policy
from orchestrator_raft.core.topology import Server, Topology

EXTRA_MAX = 200
DELAY_MAX_S = 2**31 - 1


def answering(topology: Topology, wish: Wish) -> tuple[Server, Facts] | Refusal:
    server = topology.server(wish.server)
    if server.fresh is None:
        return Refusal(f"{server.key} does not answer, so nothing was changed there")
    return server, server.fresh


def replica(topology: Topology, wish: Wish) -> tuple[Server, Facts, Channel] | Refusal:
    found = answering(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts = found
    if facts.channel is None:
        names = ", ".join(channel.name for channel in facts.channels)
        return Refusal(
            f"{server.key} has the channels {names}: say it there" if names else f"{server.key} is no replica"
        )
    return server, facts, facts.channel


def plan_for(server: Server, text: str, *stages: Stage, warnings: tuple[str, ...] = ()) -> Plan:
    return Plan(
        text=text, stages=stages, reads=(server.key,), movers=(server.key,), shown=server.key,
        warnings=tuple(warning for warning in warnings if warning),
    )  # fmt: skip


def _nothing(server: Server, text: str) -> Plan:
    return plan_for(server, text)


# -- replication threads


def start_replica(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, _, channel = found
    back = (act_on(server, Verb.STOP),) if is_stopped(channel) else ()
    return plan_for(
        server, f"{server.key} replicates", Stage(text="start", acts=(act_on(server, Verb.START),), undo=back)
    )


def stop_replica(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, _, channel = found
    stage = Stage(text="stop", acts=(act_on(server, Verb.STOP),), undo=as_it_runs(server, channel))
    warning = too_few_ackers(topology, (server.key,))
    return plan_for(server, f"replication of {server.key} stands still", stage, warnings=(warning,))


def stop_replica_nicely(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """Receive nothing more, apply what there is, then stop."""
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, _, channel = found
    back, stop = as_it_runs(server, channel), act_on(server, Verb.STOP)
    if channel.delay_s:
        acts: tuple[Act, ...] = (stop,)
        note = f"{server.key} is delayed by {channel.delay_s} s: what it has received is not waited for"
    elif channel.applier is not ThreadState.RUNNING:
        return Refusal(f"the applier of {server.key} does not run, so it cannot be waited for; use stop-replica")
    else:
        acts, note = (act_on(server, Verb.STOP_RECEIVER), act_on(server, Verb.DRAIN), stop), ""
    warnings = (too_few_ackers(topology, (server.key,)), note)
    text = f"replication of {server.key} stands still, with all applied that it has received"
    return plan_for(server, text, Stage(text="stop", acts=acts, undo=back), warnings=warnings)


def restart_replica(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, _, channel = found
    acts = (act_on(server, Verb.STOP), act_on(server, Verb.START))
    stage = Stage(text="stop and start", acts=acts, undo=as_it_runs(server, channel))
    return plan_for(server, f"replication of {server.key} starts anew", stage)


def delay_replication(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """Apply so many seconds later than the source; threads run afterwards if they did."""
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts, channel = found
    if wish.number > DELAY_MAX_S:
        return Refusal(f"{wish.number} s is no delay: at most {DELAY_MAX_S}")
    if channel.delay_s == wish.number:
        return _nothing(server, f"{server.key} is delayed by {wish.number} s already")
    if facts.flavor is Flavor.MARIADB:  # it has to stop altogether, and loses what it has not applied
        why_not = f"{server.key} {DROPS}" if may_be_needed(facts) else too_few_ackers(topology, (server.key,))
        if why_not:
            return Refusal(why_not)
    runs = (channel.receives, channel.applier is ThreadState.RUNNING)
    if any(runs) and not all(runs):
        return Refusal(f"only one of the replication threads of {server.key} runs: start or stop both first")
    warning = ""
    if acknowledges(facts) and wish.number > 0:
        warning = (
            f"{server.key} acknowledges semi-sync commits, which it then applies {wish.number} s later: "
            "disable-semi-sync-replica if others can acknowledge"
        )
    acts = (act_on(server, Verb.DELAY, number=wish.number), *as_it_runs(server, channel))
    undo = (act_on(server, Verb.DELAY, number=channel.delay_s), *as_it_runs(server, channel))
    text = f"{server.key} applies {wish.number} s later than its source"
    if facts.flavor is Flavor.MARIADB and channel.delay_s == 0:
        acts = (*drained(server, facts), *acts)
    return plan_for(server, text, Stage(text=f"a delay of {wish.number} s", acts=acts, undo=undo), warnings=(warning,))


def skip_query(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """Go on behind the transaction at which the applier stopped."""
    found = replica(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts, channel = found
    if not channel.applier_error_number or channel.applier is ThreadState.RUNNING:
        return Refusal(f"No SQL error on {server.key}")
    stops = () if facts.flavor is Flavor.MYSQL else (act_on(server, Verb.STOP),)
    skip = Stage(text="skip one transaction", acts=(*stops, act_on(server, Verb.SKIP)), is_final=True)
    start = Stage(text="start", acts=(act_on(server, Verb.START),))
    warning = f"{server.key} will differ from its source: {channel.applier_error}"[:EXTRA_MAX]
    return plan_for(server, f"{server.key} goes on behind its error", skip, start, warnings=(warning,))


def as_it_runs(server: Server, channel: Channel) -> tuple[Act, ...]:
    """What makes its threads run again, if they did."""
    return () if is_stopped(channel) else (act_on(server, Verb.START),)


def act_on(server: Server, verb: Verb, *, text: str = "", number: int = 0) -> Act:
    return Act(verb=verb, key=server.key, text=text, number=number)


# -- doors


def set_read_only(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    found = answering(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts = found
    back = () if facts.read_only else (act_on(server, Verb.OPEN),)
    warning = ""
    if topology.primary_of(server.cluster_id) is server and facts.is_writable:
        warning = f"{server.key} is the primary: nobody can write to its cluster afterwards"
    stage = Stage(text="refuse writes", acts=(act_on(server, Verb.CLOSE),), undo=back)
    return plan_for(server, f"{server.key} refuses writes", stage, warnings=(warning,))


def set_writable(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """Never a second writer."""
    found = answering(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts = found
    why_not = second_writer(server, topology)
    if why_not:
        return Refusal(why_not)
    back = (act_on(server, Verb.CLOSE),) if facts.read_only else ()
    return plan_for(
        server, f"{server.key} takes writes", Stage(text="take writes", acts=(act_on(server, Verb.OPEN),), undo=back)
    )


def second_writer(server: Server, topology: Topology) -> str:
    """Why opening this server could give its cluster a second writable server; empty when it could not."""
    if server.stale is not None:
        return f"{server.key} is a stale primary ({server.stale.status.value}): it must not take writes"
    primary = topology.primary_of(server.cluster_id)
    if primary is None or primary.key == server.key:
        return ""
    name = f"{primary.key} is the primary of this cluster"
    return f"{name}: to make {server.key} the primary use raftctl takeover, or forget {primary.key} if it is gone"


def kill_query(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    found = answering(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, _ = found
    act = act_on(server, Verb.KILL_QUERY, number=wish.number)
    stage = Stage(text=f"end what session {wish.number} does", acts=(act,), is_final=True, repeats=False)
    return plan_for(server, f"the query of session {wish.number} on {server.key} is ended", stage)


# -- semi-sync


def switch_semi_sync_source(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    """``enable-`` and ``disable-semi-sync-master``: the name says which."""
    found = _with_semi_sync(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts = found
    on, semi_sync = wish.operation.startswith("enable"), facts.semi_sync
    if semi_sync.source_enabled == on:
        return _nothing(server, f"semi-sync is {_said(on)} at {server.key} as a source already")
    ready = sum(1 for each in topology.replicas_of(server.key) if each.fresh is not None and acknowledges(each.fresh))
    would_hang = "it could take no writes" if facts.is_writable else "its applier could not go on"
    commits = facts.is_writable or bool(facts.channels)
    if on and commits and semi_sync.wait_without_replicas and ready < semi_sync.wait_for_replica_count:
        return Refusal(
            f"{server.key} would wait for {semi_sync.wait_for_replica_count} semi-sync replicas and has {ready}, so "
            f"{would_hang}: enable-semi-sync-replica at replicas of it first"
        )
    warning = "" if on or not facts.is_writable else f"what {server.key} acknowledges may be lost with it from then on"
    verbs = (Verb.AWAIT_ACKS, Verb.AWAIT_NO_ACKS) if on else (Verb.AWAIT_NO_ACKS, Verb.AWAIT_ACKS)
    acts, undo = ((act_on(server, verb),) for verb in verbs)
    text = f"semi-sync is {_said(on)} at {server.key} as a source"
    return plan_for(server, text, Stage(text=text, acts=acts, undo=undo), warnings=(warning,))


def switch_semi_sync_replica(wish: Wish, topology: Topology, _policy: Policy) -> Planned:
    found = _with_semi_sync(topology, wish)
    if isinstance(found, Refusal):
        return found
    server, facts = found
    on = wish.operation.startswith("enable")
    if facts.semi_sync.replica_enabled == on:
        return _nothing(server, f"semi-sync is {_said(on)} at {server.key} as a replica already")
    channel = facts.channel
    if on and channel is not None and channel.delay_s:
        return Refusal(f"{server.key} is delayed by {channel.delay_s} s, so it must not acknowledge")
    why_not = "" if on else too_few_ackers(topology, (server.key,))
    if why_not:
        return Refusal(why_not)
    verbs = (Verb.ACKNOWLEDGE, Verb.ACKNOWLEDGE_NOTHING) if on else (Verb.ACKNOWLEDGE_NOTHING, Verb.ACKNOWLEDGE)
    acts, undo = ((act_on(server, verb),) for verb in verbs)
    text = f"semi-sync is {_said(on)} at {server.key} as a replica"
    return plan_for(server, text, Stage(text=text, acts=acts, undo=undo))


def _with_semi_sync(topology: Topology, wish: Wish) -> tuple[Server, Facts] | Refusal:
    found = answering(topology, wish)
    if isinstance(found, Refusal):
        return found
    if not found[1].semi_sync.available:
        return Refusal(f"{wish.server} has no semi-sync: its plugin is not installed")
    return found


def _said(on: bool) -> str:
    return "on" if on else "off"

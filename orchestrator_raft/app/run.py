"""Builds a node from its configuration, runs it, and takes it down in order.

Start: Raft first (it may refuse to start for good reasons), then the engine, then HTTP, so that a node that answers is
a node that works. Stop: leadership is handed over, HTTP finishes what it has begun, then engine and Raft close. A node
that can no longer keep its word, or that has lost its eyes by a defect, ends the process with a non-zero code.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import structlog
import uvloop

from api.app import create_app
from api.front import Front, serve_forwarded
from api.server import ApiServer, Listen, TcpAddress, UnixSocket
from api.tls import ServerTls
from orchestrator_raft import __version__
from orchestrator_raft.app.consensus import Node, NodeAdmin, RaftConsensus, ReplicatedMachine, codec
from orchestrator_raft.app.identity import ThisNode, http_uri, keep_registered
from orchestrator_raft.app.plain import (
    api_of,
    consul_of,
    detection_of,
    engine_of,
    hooks_of,
    https_of,
    mysql_of,
    proxysql_keys_of,
    proxysql_settings_of,
    raft_of,
    salvage_of,
    webhooks_of,
)
from orchestrator_raft.app.recover import report_recovery
from orchestrator_raft.app.reload import Reloader
from orchestrator_raft.config import Loaded, Settings
from orchestrator_raft.core.errors import OrchestratorError, Unavailable
from orchestrator_raft.core.instance import Facts, InstanceKey
from orchestrator_raft.core.replicated.commands import RecordAudit
from orchestrator_raft.engine.clock import SystemClock
from orchestrator_raft.engine.leadership import Engine, Outside, Reports
from orchestrator_raft.engine.proposals import Proposals
from orchestrator_raft.engine.publishing import Outlet
from orchestrator_raft.engine.service import Service
from orchestrator_raft.engine.vantage import serve_reach
from orchestrator_raft.engine.witness import serve_witness
from orchestrator_raft.hooks.commands import CommandHooks
from orchestrator_raft.hooks.every import EveryHook
from orchestrator_raft.hooks.webhooks import Webhooks
from orchestrator_raft.kv.addresses import HostAddresses
from orchestrator_raft.kv.consul import ConsulTarget
from orchestrator_raft.mysql import BinlogSalvager, Connector, MysqlProber, MysqlSessions, MysqlWriter, ProxySqlTarget
from orchestrator_raft.ports import Target
from orchestrator_raft.raft.node import RaftNode
from orchestrator_raft.tasks import Tasks
from orchestrator_raft.telemetry.logs import on_failure

log = structlog.get_logger("orchestrator_raft")
HAND_OVER_TIMEOUT_S = 2.0
GARBAGE_THRESHOLDS = (10_000, 5, 5)
"""A node's data are values without cycles, which go by themselves: to look through all of them pauses for nothing."""


def run(loaded: Loaded) -> int:
    """Run one node until SIGTERM or SIGINT. Returns the exit code; raises StartupError when it cannot start."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(loaded))


async def _run(loaded: Loaded) -> int:
    ended = asyncio.Event()
    broken: list[BaseException] = []

    def on_fatal(error: BaseException) -> None:
        broken.append(error)
        ended.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with AsyncExitStack() as stack:
        node = await _start(loaded, stack, on_fatal)
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        gc.freeze()
        log.info("started", version=__version__, node=node.node_id, http=http_uri(loaded.settings))
        await ended.wait()
        if not broken:
            log.info("stopping")
            await _hand_over(node)
    if broken:
        log.error("stopped", cause=str(broken[0]))
    return 1 if broken else 0


async def _start(loaded: Loaded, stack: AsyncExitStack, on_fatal: Callable[[BaseException], None]) -> Node:
    """Everything that runs, registered with ``stack`` so that it is closed in the opposite order."""
    settings = loaded.settings
    clock = SystemClock()
    node: Node = RaftNode(raft_of(settings), ReplicatedMachine(), codec(), on_fatal=on_fatal)
    await node.start()
    stack.push_async_callback(node.stop)
    tasks = Tasks("node", on_failure)
    audit = _auditor(Proposals(RaftConsensus(node), clock))
    webhooks = Webhooks(webhooks_of(settings), tasks, audit)
    stack.push_async_callback(webhooks.close)
    stack.push_async_callback(tasks.close)
    consensus = RaftConsensus(node)
    connector = Connector(mysql_of(settings))
    prober = MysqlProber(connector, detection_of(settings), on_left_out=_left_out, on_failure=on_failure)
    stack.push_async_callback(prober.close)

    def newest_facts(key: InstanceKey) -> Facts | None:
        return engine.facts_of(key)

    commands = CommandHooks(hooks_of(settings), tasks, audit, facts_of=newest_facts)
    hooks = EveryHook(commands, webhooks, tasks, audit)
    outside = Outside(
        consensus=consensus, channel=node.channel, prober=prober, sessions=MysqlSessions(connector), hooks=hooks,
        clock=clock, outlet=_outlet(settings, stack),
        writer=MysqlWriter(connector, settings.write_probe_query) if settings.write_probe_query else None,
        salvager=_salvager(settings, connector), raft=NodeAdmin(node, is_enabled=settings.raft_enabled),
    )  # fmt: skip
    engine_settings = engine_of(settings)
    serve_witness(node.channel, prober)
    serve_reach(node.channel, prober)

    def on_broken(name: str, error: BaseException) -> None:
        on_failure(name, error)
        on_fatal(error)

    engine = Engine(outside, engine_settings, Reports(on_failure, on_broken))
    engine.start()
    stack.push_async_callback(engine.close)
    files = https_of(settings)
    tls = ServerTls(files) if files is not None else None
    reloader = Reloader(loaded, use_policy=engine.use_policy, use_hooks=commands.use, tls=tls)
    service = Service(outside, engine, NodeAdmin(node, is_enabled=settings.raft_enabled), reload=reloader)
    front = Front(api_of(settings), service, ThisNode(node, settings, clock), node.channel, on_error=_defect)
    serve_forwarded(node.channel, front)
    server = ApiServer(create_app(front), _listen(settings), tls=tls.context if tls is not None else None)
    await server.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.on_signal)
    stack.push_async_callback(server.stop)
    tasks.start("report recovery", report_recovery(node, Proposals(consensus, clock)))
    tasks.start("register", keep_registered(node, consensus, settings, clock))
    return node


def _outlet(settings: Settings, stack: AsyncExitStack) -> Outlet:
    """Every target of the configuration, closed with the node."""
    consul = consul_of(settings)
    admins = Connector(proxysql_settings_of(settings))
    hostgroups = {alias: int(number) for alias, number in settings.proxysql_writer_hostgroups}
    targets: tuple[Target, ...] = (
        *((ConsulTarget(consul),) if consul is not None else ()),
        *(ProxySqlTarget(admins, key, hostgroups) for key in proxysql_keys_of(settings)),
    )
    for target in targets:
        stack.push_async_callback(target.close)
    return Outlet(targets=targets, addresses=HostAddresses(), prefix=settings.kv_cluster_master_prefix)


def _salvager(settings: Settings, connector: Connector) -> BinlogSalvager | None:
    salvage = salvage_of(settings)
    return BinlogSalvager(connector, salvage) if salvage is not None else None


async def _hand_over(node: Node) -> None:
    """Give leadership away, so that nobody has to wait for an election."""
    if node.authority() is None:
        return
    try:
        await node.transfer(None, timeout_s=HAND_OVER_TIMEOUT_S)
    except OrchestratorError as error:
        log.info("leadership was not handed over", cause=str(error))


def _listen(settings: Settings) -> Listen:
    if settings.listen_socket:
        return UnixSocket(settings.listen_socket)
    return TcpAddress(settings.listen.host, settings.listen.port)


def _left_out(key: InstanceKey, statement: str, complaint: str) -> None:
    log.warning("a statement of the probe fails and is left out for a while", server=str(key), statement=statement,
                complaint=complaint)  # fmt: skip


def _defect(request_id: str, what: str, error: BaseException) -> None:
    log.error("a request failed by a defect", request_id=request_id, request=what, exc_info=error)


def _auditor(proposals: Proposals) -> Callable[[InstanceKey, str], Awaitable[None]]:
    async def audit(key: InstanceKey, message: str) -> None:
        log.info("hook", server=str(key), message=message)
        try:
            await proposals.propose(RecordAudit, type="hook", message=message, key=key)
        except Unavailable as error:
            log.warning("that could not be recorded", cause=str(error))

    return audit

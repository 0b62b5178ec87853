"""A whole installation in virtual time: manager nodes, the databases they manage, clients, and the ways between them.

One seed, one thread, no waiting. Every machine is asked by the world when its turn comes; nothing else decides what
happens next. A broken promise is noted by ``checks`` and ends the run after the event in which it happened.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from orchestrator_raft.core.instance import InstanceKey
from orchestrator_raft.engine.leadership import EngineSettings
from orchestrator_raft.raft.settings import Limits
from tests.fleetsim.checks import Checks
from tests.fleetsim.loop import ProcessLoop
from tests.fleetsim.node import ManagerNode, raft_settings
from tests.fleetsim.server import Configuration, Server
from tests.fleetsim.statistics import Statistics
from tests.fleetsim.tcp import Tcp
from tests.seeded.agenda import Agenda
from tests.sim.clocks import MachineClock
from tests.sim.network import Network

GHOST_TURNS_MAX = 300


class World(Agenda):
    def __init__(
        self, seed: int, *, nodes: int, limits: Limits, node_delay_s: tuple[float, float],
        server_delay_s: tuple[float, float], sync_s: tuple[float, float], drift: float = 0.01, wire: bool = False,
        pace: float = 1.0, newcomers: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.seed = seed
        self.dice = random.Random(f"world {seed}")
        random.seed(seed)
        self.statistics = Statistics()
        self.troubled = True
        """Faults may still begin."""
        self.limits, self.sync_s, self.wire = limits, sync_s, wire
        self.raft_settings = raft_settings(limits, pace)
        self.engine_settings: EngineSettings
        self.cluster_id = "simulated"
        self.slots = [f"n{number}:10008" for number in range(1, nodes + newcomers + 1)]
        self.founders = tuple(self.slots[:nodes])
        self.asked_s = 0.0
        """When somebody last asked for an operation."""
        self.stood_still_until_s: dict[str, float] = {}
        """Until when a process that runs again had stood still."""
        self.graveyard: list[ProcessLoop] = []
        self.checks = Checks(self)
        self.tcp = Tcp(self, seed, server_delay_s)
        self.nodes = {
            slot: ManagerNode(
                self, slot, MachineClock(self.dice.uniform(1 - drift, 1 + drift), self.dice.uniform(0, 9))
            )
            for slot in self.slots
        }
        self.servers: dict[str, Server] = {}
        self.by_key: dict[InstanceKey, Server] = {}
        self.network = Network(self, self.slots, node_delay_s)  # type: ignore[arg-type]

    def add_server(self, configuration: Configuration, kind: type[Server] = Server) -> Server:
        server = kind(self, len(self.servers) + 1, configuration)
        self.servers[server.name] = self.by_key[server.key] = server
        return server

    # what the network between nodes asks

    def life(self, name: str) -> int:
        return self.nodes[name].life

    def wakes_s(self, name: str) -> float:
        return self.nodes[name].wakes_s

    def dials(self, name: str, peer: str) -> bool:
        joined = self.nodes[name].joined
        return joined is not None and joined.dials(peer)

    def accepts(self, name: str, peer: str) -> bool:
        """As the handshake judges."""
        joined, other = self.nodes[name].joined, self.nodes[peer].joined
        return joined is not None and other is not None and joined.meet(other.hello)

    def peer_connected(self, name: str, peer: str) -> None:
        self.nodes[name].peer_connected(peer)

    def peer_disconnected(self, name: str, peer: str) -> None:
        self.nodes[name].peer_disconnected(peer)

    def peer_said(self, name: str, peer: str, frame: Any) -> bool:
        self.nodes[name].peer_said(peer, frame)
        return True

    # what everybody asks

    def leader(self) -> ManagerNode | None:
        """The node that may act now, if it runs."""
        return next((node for node in self.nodes.values() if node.is_awake and node.term_with_authority), None)

    def members(self) -> frozenset[str]:
        """Of the manager, by the newest list that anybody has."""
        lists = [node.replica.members for node in self.nodes.values() if node.replica is not None]
        newest = max(lists, key=lambda each: each.index, default=None)
        return newest.configuration.slots if newest is not None else frozenset(self.founders)

    def end_faults(self) -> None:
        """Everything works again, and everybody is started."""
        self.network.heal()
        self.tcp.heal()
        for node in self.nodes.values():
            node.disk.is_hung = node.disk.is_full = False
            node.disk.slowness, node.fuse, node.stalls = 1.0, None, None
            if node.is_up and not node.is_awake:
                node.wake(node.life)
            node.start()
        for server in self.servers.values():
            server.slow_apply_until_s = server.disk_full_until_s = 0.0
            if server.is_up and not server.is_awake:
                server.thaw(server.life)
            server.start()

    def dismantle(self) -> None:
        """End what every process had under way, so that nothing of it is left when this world is forgotten."""
        loops = [*self.graveyard, *(node.loop for node in self.nodes.values() if node.loop is not None)]
        for node in self.nodes.values():
            node.life = 0
        for loop in loops:
            _end(loop)


def _end(loop: ProcessLoop) -> None:
    """In the time of a ghost, which jumps to whatever is due."""
    ghost_s = loop.time()
    loop._now = lambda: ghost_s
    loop.set_exception_handler(lambda _loop, _context: None)
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.cancel()
    for _ in range(GHOST_TURNS_MAX):
        due_s = loop.due_at_s()
        if due_s is None or not asyncio.all_tasks(loop):
            break
        ghost_s = max(ghost_s, due_s)
        loop.run_due(lambda: True)
    loop.close()

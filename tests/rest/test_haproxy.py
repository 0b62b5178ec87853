"""``deploy/haproxy.cfg`` in a real HAProxy: writes follow the primary through a failover, the API follows the leader.

Nodes are those of ``rig``; what stands for a database server is a listener that says which one it is. Without HAProxy
the test fails: ``scripts/test`` installs it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from sandbox import ports
from sandbox.haproxy import find_or_install
from tests.engine.fleet import Fleet
from tests.rest.rig import Rig

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "haproxy.cfg"
PATIENCE_S = 20.0
LOOK_AGAIN_S = 0.05
START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Balanced:
    """Where the four doors of the configuration are."""

    api: int
    writes: int
    reads: int

    async def server(self, port: int) -> str:
        """The name of the server behind a port; empty where there is none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(5):
                name = (await reader.read()).decode()
        except OSError:
            return ""
        writer.close()
        return name

    async def api_node(self) -> str:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
                session.get(f"http://127.0.0.1:{self.api}/api/leader-check") as response,
            ):
                return response.headers.get("X-Node-ID", "") if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""


async def says(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(name.encode())
    await writer.drain()
    writer.close()


def configured(text: str, rig: Rig, backends: dict[str, int], doors: dict[str, str]) -> str:
    """The shipped configuration with the addresses of this test, and nothing else changed."""
    for number, node in enumerate(rig.nodes.values(), start=1):
        text = text.replace(f"db-manager-{number}:3000", f"127.0.0.1:{node.server.port}")
    text = text.replace("/cluster/shop/", "/cluster/bench/")
    for number, (name, port) in enumerate(backends.items(), start=1):
        text = text.replace(
            f"server db{number}.example:3306 db{number}.example:3306", f"server {name} 127.0.0.1:{port}"
        )
    for old, new in doors.items():
        text = re.sub(rf"(bind |port )({re.escape(old)})\b", rf"\g<1>{new}", text)
    return text.replace(":8081", f":{doors['8081']}")


@asynccontextmanager
async def balancing(rig: Rig, folder: Path) -> AsyncIterator[Balanced]:
    """HAProxy before these nodes and listeners, until the end of the block."""
    program = find_or_install()
    async with AsyncExitStack() as stack:
        api, checks, writes, reads = stack.enter_context(ports.reserved())[:4]
        backends: dict[str, int] = {}
        for number in (24000, 24001, 24002):
            name = f"127.0.0.1:{number}"
            listener = await asyncio.start_server(partial(says, name), "127.0.0.1", 0)
            stack.callback(listener.close)
            backends[name] = listener.sockets[0].getsockname()[1]
        doors = {":8080": f"127.0.0.1:{api}", ":3306": f"127.0.0.1:{writes}", ":3307": f"127.0.0.1:{reads}",
                 "8081": str(checks)}  # fmt: skip
        path = folder / "haproxy.cfg"
        path.write_text(configured(CONFIGURATION.read_text(), rig, backends, doors))
        log = stack.enter_context((folder / "haproxy.log").open("wb"))
        process = await asyncio.create_subprocess_exec(program, "-db", "-f", path, stdout=log, stderr=log)
        try:
            yield Balanced(api, writes, reads)
        finally:
            assert process.returncode is None, (folder / "haproxy.log").read_text()
            process.terminate()
            async with asyncio.timeout(START_TIMEOUT_S):
                await process.wait()


Ask = Callable[[], Awaitable[str]]


async def until(what: str, ask: Ask, wanted: str | Callable[[str], bool]) -> None:
    seen = ""
    for _ in range(round(PATIENCE_S / LOOK_AGAIN_S)):
        seen = await ask()
        if wanted(seen) if callable(wanted) else seen == wanted:
            return
        await asyncio.sleep(LOOK_AGAIN_S)
    raise AssertionError(f"{what}: {seen}")


async def test_the_shipped_configuration_is_valid() -> None:
    process = await asyncio.create_subprocess_exec(
        find_or_install(), "-c", "-f", CONFIGURATION, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    warnings = [line for line in output.decode().splitlines() if "WARNING" in line and "could not resolve" not in line]
    assert warnings == []


@pytest.mark.timeout(150)
async def test_writes_follow_the_primary_and_the_api_the_leader(tmp_path: Path) -> None:
    async with Rig(3, fleet=Fleet.cluster(replicas=2)) as rig:
        await rig.discovered()
        async with balancing(rig, tmp_path) as doors:
            await until("writes at the primary", lambda: doors.server(doors.writes), "127.0.0.1:24000")
            await until(
                "reads at a replica", lambda: doors.server(doors.reads),
                lambda name: name in ("127.0.0.1:24001", "127.0.0.1:24002"),
            )  # fmt: skip
            await until("the API at the leader", doors.api_node, "n1")

            rig.first.prober.crash(24000)
            await rig.until(lambda: bool(rig.raft.state.recoveries) and not rig.raft.state.active_recoveries)
            successor = str(next(iter(rig.raft.state.clusters.values())).primary)
            assert successor in ("127.0.0.1:24001", "127.0.0.1:24002")
            await until("writes at the successor", lambda: doors.server(doors.writes), successor)

            rig.raft.elect("n2")
            await until("the API at the new leader", doors.api_node, "n2")
            await rig["n3"].server.stop()
            for _ in range(10):
                await until("writes without one of the nodes", lambda: doors.server(doors.writes), successor)
                await asyncio.sleep(LOOK_AGAIN_S)

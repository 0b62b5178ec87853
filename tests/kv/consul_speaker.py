"""A small Consul for tests: the part of its HTTP API that we use, as its documentation has it. It is no real Consul.

What it keeps to: keys and values (base64, ModifyIndex from one counter, recursive reads by prefix, 404 for nothing),
transactions that are carried out whole or not at all (set and cas, 409 with the errors, at most 64 operations), the
list of data centres, ``?dc=``, and the token's header (403). Run as a program it serves a real port, for real nodes.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

OPERATIONS_MAX = 64


@dataclass
class Entry:
    value: str
    index: int


@dataclass
class Consul:
    """The stores of all data centres, and what a test wants to go wrong."""

    centers: dict[str, dict[str, Entry]] = field(default_factory=lambda: {"dc1": {}})
    token: str = ""
    index: int = 10
    down: bool = False
    unreachable_centers: set[str] = field(default_factory=set)
    before_write: Callable[[], Awaitable[None]] | None = None
    transactions: int = 0
    asked: int = 0
    instead: bytes | None = None
    """Answered to every question."""

    def value(self, key: str, center: str = "dc1") -> str | None:
        entry = self.centers[center].get(key)
        return entry.value if entry is not None else None

    def put(self, key: str, value: str, center: str = "dc1") -> None:
        self.index += 1
        self.centers[center][key] = Entry(value, self.index)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/v1/kv/{key:.*}", self._read)
        app.router.add_put("/v1/kv/{key:.*}", self._put)
        app.router.add_put("/v1/txn", self._transaction)
        app.router.add_get("/v1/catalog/datacenters", self._list_centers)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        self.asked += 1
        if self.instead is not None:
            return web.Response(body=self.instead)
        if self.down:
            return web.Response(status=500, text="No cluster leader")
        if self.token and request.headers.get("X-Consul-Token") != self.token:
            return web.Response(status=403, text="Permission denied: token lacks permission 'key:write'")
        if request.query.get("dc") in self.unreachable_centers:
            return web.Response(status=500, text="No path to datacenter")
        return await handler(request)

    def _store(self, request: web.Request) -> dict[str, Entry]:
        return self.centers[request.query.get("dc", next(iter(self.centers)))]

    async def _list_centers(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self.centers))

    async def _read(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        store = self._store(request)
        names = [name for name in sorted(store) if name.startswith(key)] if "recurse" in request.query else [key]
        found = [_shown(name, store[name]) for name in names if name in store]
        return web.json_response(found) if found else web.Response(status=404)

    async def _put(self, request: web.Request) -> web.Response:
        self.index += 1
        self._store(request)[request.match_info["key"]] = Entry(await request.text(), self.index)
        return web.json_response(True)

    async def _transaction(self, request: web.Request) -> web.Response:
        operations = [each["KV"] for each in await request.json()]
        if self.before_write is not None:
            await self.before_write()
        if len(operations) > OPERATIONS_MAX:
            return web.Response(status=413, text="Transaction contains too many operations")
        store = self._store(request)
        errors = [
            {"OpIndex": position, "What": f'failed to set key "{each["Key"]}", index is stale'}
            for position, each in enumerate(operations)
            if each["Verb"] == "cas" and each["Index"] != (store[each["Key"]].index if each["Key"] in store else 0)
        ]
        if errors:
            return web.json_response({"Errors": errors, "Results": None}, status=409)
        self.index += 1
        self.transactions += 1
        for each in operations:
            store[each["Key"]] = Entry(base64.b64decode(each["Value"]).decode(), self.index)
        results = [{"KV": {"Key": each["Key"], "ModifyIndex": self.index}} for each in operations]
        return web.json_response({"Results": results, "Errors": None})


def _shown(name: str, entry: Entry) -> dict[str, Any]:
    value = base64.b64encode(entry.value.encode()).decode() or None
    return {
        "LockIndex": 0, "Key": name, "Flags": 0, "Value": value, "CreateIndex": entry.index, "ModifyIndex": entry.index,
    }  # fmt: skip


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    runner = web.AppRunner(Consul().app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

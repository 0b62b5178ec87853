"""Pictures of every view of the web page, light and dark, for the documents: ``scripts/screens [FOLDER]``.

Taken of three real nodes and two real clusters, one of each flavour, after a failover: a chain, a server in downtime, a
replica that was stopped, a primary that is gone. So they show what people will see, and are taken anew when the page
changes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from sandbox import chromium, ports, topology
from sandbox.binaries import Flavor
from sandbox.errors import SandboxError
from sandbox.nodes import Nodes
from sandbox.servers import Server

SHOP, BILLING = ("shop", "shop.example"), ("billing", "billing.example")
SHOP_SERVERS, BILLING_SERVERS = 6, 3
SIZE = {"width": 1200, "height": 660}
RECOVERY_HEIGHT = 535
SCHEMES = ("light", "dark")
TIMEOUT_S = 60.0


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def scene() -> Iterator[Nodes]:
    """Nodes with something to show."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-screens-")))
        block = stack.enter_context(ports.reserved())
        shop = topology.start(Flavor.MYSQL, SHOP_SERVERS, block[0], folder / "shop", cluster=SHOP)
        stack.callback(shop.stop_all, discard=True)
        billing = topology.start(Flavor.MARIADB, BILLING_SERVERS, block[8], folder / "billing", cluster=BILLING)
        stack.callback(billing.stop_all, discard=True)
        nodes = Nodes(folder / "nodes", http_port=block[18], raft_port=block[19])
        stack.callback(nodes.stop_all)
        nodes.start()
        for each in (shop, billing):
            discover(nodes, each.primary().key[1])
        nodes.wait("all are known", lambda: len(nodes.get("/api/v2/servers")) == SHOP_SERVERS + BILLING_SERVERS)
        _, *others = shop.replicas()
        ask(nodes, f"/api/v2/servers/{at(others[-1])}/relocate", {"target": at(others[-2])})
        ask(
            nodes, f"/api/v2/servers/{at(others[0])}/downtime", {"owner": "ann", "reason": "new disk", "duration": "2h"}
        )
        shop.primary().kill()
        nodes.wait("the failover has ended", lambda: ended(nodes), TIMEOUT_S)
        ask(nodes, f"/api/v2/servers/{at(billing.replicas()[0])}/stop-replica", {})
        say(f"looking at {nodes}")
        yield nodes


def at(server: Server) -> str:
    return f"{server.host}:{server.port}"


def ask(nodes: Nodes, path: str, body: dict[str, Any]) -> None:
    answer = nodes.wait_leader().post(path, body)
    if answer.get("status", 200) >= 400:
        raise SandboxError(f"{path}: {answer['detail']}")


def discover(nodes: Nodes, port: int) -> None:
    ask(nodes, f"/api/v2/servers/127.0.0.1:{port}/discover", {})


def ended(nodes: Nodes) -> bool:
    found = nodes.get("/api/v2/recoveries")
    return any(each["kind"] == "dead_primary" and each["end"] == "succeeded" for each in found)


def take(browser: Browser, nodes: Nodes, folder: Path) -> None:
    """Every view, in both schemes."""
    clusters = {each["alias"]: each for each in nodes.get("/api/v2/fleet")["clusters"]}
    [failover] = [each for each in nodes.get("/api/v2/recoveries") if each["kind"] == "dead_primary"]
    servers = [each["server"] for each in nodes.get(f"/api/v2/clusters/{clusters['shop']['id']}/map")["servers"]]
    views = {
        "fleet": "clusters", "cluster": f"cluster/shop?server={clusters['shop']['primary']}",
        "recovery": f"recovery/{failover['id']}", "recoveries": "audit-recovery?every=true", "raft": "raft",
        "audit": "audit", "downtime": "downtime",
    }  # fmt: skip
    for scheme in SCHEMES:
        page = browser.new_page(viewport=SIZE, color_scheme=scheme)  # type: ignore[arg-type]
        for name, view in views.items():
            page.goto(f"{nodes.nodes[1].url}/web/{view}")
            expect(page.get_by_role("status").get_by_text("live")).to_be_visible()
            expect(page.get_by_text("Loading …")).to_have_count(0)
            save(
                page, folder / f"{name}-{scheme}.png", height=RECOVERY_HEIGHT if name == "recovery" else SIZE["height"]
            )
        page.goto(f"{nodes.nodes[1].url}/web/cluster/shop?server={servers[-1]}")
        page.get_by_text("Move", exact=True).click()
        page.get_by_role("button", name="Move below …").click()
        expect(page.get_by_text("What will be done")).to_be_visible()
        save(page, folder / f"plan-{scheme}.png")
        page.close()
    page = browser.new_page(viewport={"width": 390, "height": 780}, color_scheme="dark")
    page.goto(f"{nodes.nodes[0].url}/web/cluster/shop")
    expect(page.locator(".box").first).to_be_visible()
    save(page, folder / "phone-dark.png")


def save(page: Page, path: Path, *, height: int | None = None) -> None:
    """What is in the window, or the upper part of it."""
    page.wait_for_timeout(400)
    size = page.viewport_size or SIZE
    clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
    path.write_bytes(page.screenshot(clip=clip))  # type: ignore[arg-type]
    say(f"{path} {path.stat().st_size // 1024} KiB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Take all pictures."""
    parser = argparse.ArgumentParser(prog="scripts/screens", description="Pictures of the web page for the documents.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/screens"))
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with scene() as nodes, sync_playwright() as playwright:
            program = str(chromium.find_or_install(say=say))
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            take(browser, nodes, options.folder)
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

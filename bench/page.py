"""What does a page cost the reader? ``python -m bench.page --seconds 20``

Chromium shows a cluster of 200 modelled servers, all of them drawn, and is told ten times a second that the lag of
every one is another. CPU time of all of the browser's processes; and for comparison of a page on which nothing changes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench import report
from orchestrator_raft.engine.sight import Glimpse, Seen
from sandbox import chromium
from tests.engine.fleet import Fleet, key, primary_facts, replica_facts
from tests.rest.rig import Rig
from tests.web.scene import Scene, running

SERVERS, BRANCHES, FIRST_PORT = 200, 9, 24000
UPDATES_PER_S = 10
NODE = "n2"
"""A follower: it has its lag from the leader, as most nodes that people look at."""


def fleet() -> Fleet:
    """A primary, nine replicas of it, and below each of these their share of the rest."""
    primary = key(FIRST_PORT)
    facts = [primary_facts(primary, cluster_alias="large")]
    for number in range(1, SERVERS):
        source = primary if number <= BRANCHES else key(FIRST_PORT + 1 + number % BRANCHES)
        facts.append(replica_facts(key(FIRST_PORT + number), source, cluster_alias="large"))
    return Fleet(facts)


async def drift(rig: Rig, seconds: float) -> None:
    """Other lags for every server, again and again."""
    sight = rig[NODE].service.sight
    keys = [key(FIRST_PORT + number) for number in range(SERVERS)]
    for step in range(round(seconds * UPDATES_PER_S)):
        seen = {each: Glimpse(reached=True, replicates=True, lag_s=float((step + each.port) % 7)) for each in keys[1:]}
        sight._take(Seen(term=rig.raft.term, glimpses={keys[0]: Glimpse(reached=True), **seen}))
        await asyncio.sleep(1 / UPDATES_PER_S)


def browser_cpu_s() -> float:
    """CPU time of this process' descendants: the browser's processes, and the driver that starts it."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks
    ours = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
        if not more:
            return sum(used[pid] for pid in ours - {os.getpid()})
        ours |= more


def measured(seconds: float) -> float:
    """Percent of a core over that time."""
    before, begun_s = browser_cpu_s(), time.monotonic()
    time.sleep(seconds)
    return 100 * (browser_cpu_s() - before) / (time.monotonic() - begun_s)


COUNT_DRAWINGS = """
window.drawings = 0;
new MutationObserver(() => { window.drawings += 1; }).observe(document.body, {subtree: true, characterData: true});
"""


def show(page: Page, scene: Scene) -> int:
    """The cluster with every server drawn; how many boxes there are."""
    page.goto(f"{scene.url(NODE)}/web/cluster/large")
    page.locator(".box").first.wait_for()
    while page.locator("a.box").count() < SERVERS:
        page.evaluate("document.querySelectorAll('.box.more').forEach(each => each.click())")
        page.wait_for_timeout(100)
    return page.locator(".box").count()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench."""
    top = argparse.ArgumentParser(prog="bench.page")
    top.add_argument("--seconds", type=float, default=20.0)
    seconds = top.parse_args(arguments).seconds
    with running(lambda: Rig(3, fleet=fleet()), FIRST_PORT) as scene, sync_playwright() as playwright:
        program = str(chromium.find_or_install())
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        boxes = show(page, scene)
        time.sleep(2.0)
        quiet = measured(seconds)
        scene.begin(drift(scene.rig, seconds + 5.0))
        time.sleep(2.0)
        page.evaluate(COUNT_DRAWINGS)
        busy = measured(seconds)
        drawn = page.evaluate("window.drawings")
        browser.close()
    figures = [
        report.figure("CPU of the browser, nothing changes", "% of a core", [quiet]),
        report.figure(f"CPU of the browser, {UPDATES_PER_S} times a second every lag changes", "% of a core", [busy]),
        report.figure("drawings, meanwhile", "1/s", [drawn / seconds]),
        report.figure("CPU of one drawing", "ms", [10 * (busy - quiet) * seconds / max(1, drawn)]),
    ]
    about = {**report.machine(), "seconds": seconds, "boxes": boxes, "browser": program}
    report.show(f"a page with {SERVERS} servers", about, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where the page draws servers: each of any cluster once, none upon another, sources left of their replicas."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.engine.fleet import Fleet
from tests.rest.rig import Rig
from tests.web.scene import running

SHAPES = 300
SERVERS_MAX = 40
LAYOUT = """async clusters => {
  const { layout } = await import(new URL("files/tree.js", document.baseURI));
  return clusters.map((rows) => {
    const { nodes, edges, width, height } = layout(rows);
    return {
      nodes: nodes.map(({ key, x, y, group }) => ({ key, x, y, group: (group || []).map((row) => row.server) })),
      edges: edges.map(({ from, to }) => [from.key, to.key]), width, height,
    };
  });
}"""
WIDTH, HEIGHT = 236, 74


def row(server: str, source: str | None = None, **changes: Any) -> dict[str, Any]:
    healthy: dict[str, Any] = {
        "reached": True, "downtime": None, "maintenance": None, "stale": None, "is_primary": source is None,
        "is_co_primary": False, "delay_s": 0, "troubles": [], "lag_s": 0.0, "receiver": "running",
        "applier": "running",
    }  # fmt: skip
    return {"server": server, "source": source, **healthy, **changes}


def any_cluster(dice: random.Random) -> list[dict[str, Any]]:
    """Any graph of sources: trees, rings, servers whose source nobody knows, old primaries."""
    names = [f"s{number}" for number in range(dice.randint(1, SERVERS_MAX))]
    rows = []
    for name in names:
        source = dice.choice([*names, *names[:3] * 5, None, "unknown"])
        changes: dict[str, Any] = {}
        if dice.random() < 0.1:
            changes["stale"] = {"status": "fenced"}
        if dice.random() < 0.1:
            changes["reached"] = False
        rows.append(row(name, source, is_co_primary=dice.random() < 0.05, **changes))
    return rows


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with running(lambda: Rig(1, fleet=Fleet(()))) as scene:
        found = browser.new_page()
        found.goto(f"{scene.url()}/web/about")
        yield found
        found.close()


def laid_out(page: Page, *clusters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(LAYOUT, list(clusters))
    return found


def test_any_cluster_is_drawn_whole_and_nothing_upon_another(page: Page) -> None:
    clusters = [any_cluster(random.Random(seed)) for seed in range(SHAPES)]
    for seed, (rows, drawn) in enumerate(zip(clusters, laid_out(page, *clusters), strict=True)):
        shown = [each["key"] for each in drawn["nodes"] if not each["group"]]
        shown += [server for each in drawn["nodes"] for server in each["group"]]
        assert sorted(shown) == sorted(each["server"] for each in rows), seed
        boxes = sorted((each["x"], each["y"]) for each in drawn["nodes"])
        for (x, y), (next_x, next_y) in pairwise(boxes):
            assert next_x > x or next_y - y >= HEIGHT, seed
        assert all(x + WIDTH <= drawn["width"] and y + HEIGHT <= drawn["height"] for x, y in boxes), seed


def test_sources_are_left_of_their_replicas_and_rings_are_closed(page: Page) -> None:
    chain = [row("a"), row("b", "a"), row("c", "b")]
    ring = [row("x", "z"), row("y", "x"), row("z", "y")]
    pair = [row("p", "q", is_co_primary=True), row("q", "p", is_co_primary=True), row("r", "q")]
    drawn_chain, drawn_ring, drawn_pair = laid_out(page, chain, ring, pair)
    assert [each["x"] for each in drawn_chain["nodes"]] == sorted(each["x"] for each in drawn_chain["nodes"])
    assert sorted(map(tuple, drawn_ring["edges"])) == [("x", "y"), ("y", "z"), ("z", "x")]
    assert sorted(map(tuple, drawn_pair["edges"])) == [("p", "q"), ("q", "p"), ("q", "r")]
    places = {each["key"]: each["x"] for each in drawn_pair["nodes"]}
    assert places["p"] == places["q"] < places["r"]


def test_of_many_healthy_replicas_the_rest_is_one_box_and_troubled_ones_are_drawn(page: Page) -> None:
    rows = [row("a"), *(row(f"r{number}", "a") for number in range(30))]
    rows[20] = row("r19", "a", reached=False)
    [drawn] = laid_out(page, rows)
    assert [len(each["group"]) for each in drawn["nodes"] if each["group"]] == [24]
    assert "r19" in [each["key"] for each in drawn["nodes"]]

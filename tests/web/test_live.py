"""The page on three real nodes and real servers: what happens is seen as it happens, and things can be done there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from sandbox.binaries import Flavor
from sandbox.servers import Server
from sandbox.topology import replicates
from tests.faults.stage import Stage, open_stage, source_port, until
from tests.web.conftest import PATIENCE_MS, NewPage
from tests.web.looks import PHONE, faults, is_too_wide

SETTINGS = {"RecoveryPeriodBlockSeconds": 1}
SLOW_S = 180.0
"""For a machine that is busy with other tests, too."""
OUTLOOKS_SHOWN = 3
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield open_stage(stack, tmp_path_factory.mktemp("web"), Flavor.MYSQL, settings=SETTINGS)


def cluster_page(stage: Stage, new_page: NewPage, node: int = 1) -> Page:
    page = new_page(f"{stage.nodes.nodes[node].url}/web/cluster/demo")
    expect(page.locator(".box")).to_have_count(4)
    page.evaluate("window.loadedOnce = true")
    return page


def box(page: Page, server: Server) -> Locator:
    return page.locator(f".box[data-server='{server.host}:{server.port}']")


def never_reloaded(page: Page) -> bool:
    return page.evaluate("window.loadedOnce === true") is True


def labels(page: Page) -> list[str]:
    return sorted(page.locator(".box").evaluate_all("each => each.map(one => one.getAttribute('aria-label'))"))


def test_every_node_shows_the_same(stage: Stage, new_page: NewPage) -> None:
    pages = [cluster_page(stage, new_page, node) for node in range(3)]
    for page in pages:
        expect(page.locator(".box .sign.good")).to_have_count(4)
        expect(page.locator(".box", has_text="primary")).to_have_count(1)
    until("all show the same", lambda: labels(pages[0]) == labels(pages[1]) == labels(pages[2]))


def test_a_server_is_dragged_onto_another_planned_confirmed_and_moved(stage: Stage, new_page: NewPage) -> None:
    page = cluster_page(stage, new_page)
    mover, below = stage.servers.replicas()[:2]
    box(page, mover).drag_to(box(page, below))
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("What will be done")).to_be_visible()
    expect(dialog.locator(".plan ol > li").first).to_be_visible()
    assert source_port(mover) == stage.servers.primary().port, "nothing happens before it is confirmed"

    dialog.get_by_role("button", name="Move below").click()
    expect(dialog.locator(".progress .sign.good")).to_be_visible()
    until("it was moved", lambda: source_port(mover) == below.port)
    dialog.get_by_role("button", name="Close").click()
    until("the page shows it further right", lambda: left_of(page, mover) > left_of(page, below))

    box(page, mover).click()
    offer(page, "Move", "Move up …")
    dialog.get_by_role("button", name="Move up").click()
    until("it is where it was", lambda: source_port(mover) == stage.servers.primary().port)
    assert never_reloaded(page)


def test_replication_is_stopped_and_started_from_the_page(stage: Stage, new_page: NewPage) -> None:
    page, server = cluster_page(stage, new_page), stage.servers.replicas()[-1]
    box(page, server).click()
    dialog = page.get_by_role("dialog")
    for word, runs in (("Stop replication", False), ("Start replication", True)):
        offer(page, "Replication and writes", f"{word} …")
        expect(dialog.locator(".plan ol > li").first).to_be_visible()
        dialog.get_by_role("button", name=word, exact=True).click()
        expect(dialog.locator(".progress .sign.good")).to_be_visible()
        dialog.get_by_role("button", name="Close").click()
        until(f"{word} is done", partial(is_replicating, server, runs))
        expect(box(page, server)).to_contain_text("ok" if runs else "not replicating")
    assert never_reloaded(page)


def is_replicating(server: Server, wanted: bool) -> bool:
    return replicates(server) is wanted


def offer(page: Page, group: str, button: str) -> None:
    """Press a button in a group of what can be done with the server in the panel."""
    menu = page.locator(".panel details").filter(has=page.locator("summary", has_text=re.compile(f"^{group}$")))
    if menu.get_attribute("open") is None:
        menu.locator("summary").click()
    menu.get_by_role("button", name=button, exact=True).click()


def left_of(page: Page, server: Server) -> float:
    found = box(page, server).bounding_box()
    return found["x"] if found is not None else 0.0


def test_a_takeover_wants_the_clusters_name_and_is_followed_to_its_end(stage: Stage, new_page: NewPage) -> None:
    page = cluster_page(stage, new_page)
    old = stage.servers.primary()
    page.get_by_role("button", name="Take over …").click()
    dialog = page.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Take over")
    expect(go).to_be_disabled()
    expect(dialog.get_by_text("Writes are expected to wait at most")).to_be_visible()
    dialog.locator("input[name=typed]").fill("dem")
    expect(go).to_be_disabled()
    dialog.locator("input[name=typed]").fill("demo")
    go.click()
    expect(dialog.locator(".progress .sign.good")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(box(page, old).locator(".role")).to_have_text("replica")
    until("the nodes agree", lambda: stage.primary_of_nodes() != f"{old.host}:{old.port}")
    stage.wait_following()


def test_a_failover_is_watched_without_a_reload(stage: Stage, new_page: NewPage) -> None:
    stage.write()
    wait_fails_over(stage)
    page, fleet = cluster_page(stage, new_page), new_page(f"{stage.nodes.nodes[2].url}/")
    old = stage.servers.primary()
    expect(fleet.locator("tbody .sign.good").first).to_be_visible()
    old.kill()
    expect(page.locator(".box.primary")).not_to_have_attribute("data-server", f"{old.host}:{old.port}")
    recovery = stage.ended("dead_primary", timeout_s=SLOW_S)
    expect(box(page, old)).to_contain_text("out of reach")
    expect(fleet.get_by_text("1 kept out")).to_be_visible()
    assert never_reloaded(page)

    page.goto(f"{stage.nodes.nodes[0].url}/web/audit-recovery")
    page.get_by_role("link", name=recovery["subject"]["code"]).first.click()
    timeline = page.locator(".timeline")
    for word in ("noticed", "confirmed", "claimed", "promoted", "repointed", "succeeded"):
        expect(timeline.get_by_text(word, exact=True)).to_be_visible()
    assert not is_too_wide(page)
    page.get_by_role("button", name="Acknowledge …").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("seen")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator("dl").get_by_text("seen")).to_be_visible()
    old.start()
    stage.returned(old)
    expect(fleet.get_by_text("1 kept out")).to_have_count(shown_cluster(stage)["kept_out"])


def wait_fails_over(stage: Stage) -> None:
    """Until the nodes say that the cluster would fail over by itself; what they said instead fails the test."""
    outlooks: list[dict[str, Any]] = []

    def possible() -> bool:
        cluster = shown_cluster(stage)
        seen = {name: cluster[name] for name in ("automatic_failover", "no_loss_promise", "troubles", "running")}
        if outlooks[-1:] != [seen]:
            outlooks.append(seen)
        return bool(cluster["automatic_failover"]["possible"])

    try:
        until("it would fail over by itself", possible, SLOW_S)
    except AssertionError as error:
        raise AssertionError(f"{error}; seen last: {outlooks[-OUTLOOKS_SHOWN:]}") from error


def shown_cluster(stage: Stage) -> dict[str, Any]:
    [cluster] = stage.nodes.get("/api/v2/fleet")["clusters"]
    return dict(cluster)


def test_a_page_goes_on_when_the_leader_dies_and_says_so_when_its_own_node_does(
    stage: Stage, new_page: NewPage
) -> None:
    leader = stage.nodes.wait_leader()
    follower = stage.other_node(leader)
    page = new_page(f"{follower.url}/web/status", viewport=PHONE, bypass_csp=True)
    lost = new_page(f"{leader.url}/web/clusters")
    expect(page.locator(".card.node")).to_have_count(3)
    assert faults(page) == []
    assert not is_too_wide(page)
    expect(lost.get_by_role("status").get_by_text("live")).to_be_visible()
    leader.kill()
    expect(lost.get_by_text("This node does not answer.")).to_be_visible()
    expect(lost.get_by_role("link", name=follower.url.removeprefix("http://"))).to_be_visible()
    expect(page.locator(".card.node.critical")).to_have_count(1)
    stage.nodes.wait_leader()
    expect(page.locator(".summary")).to_contain_text("leads")
    leader.start()
    leader.wait_answering()
    expect(lost.get_by_text("This node does not answer.")).to_have_count(0)
    expect(lost.get_by_role("status").get_by_text("live")).to_be_visible()
    expect(page.locator(".card.node.critical")).to_have_count(0)

"""Every view, on modelled servers whose names are attacks: texts stay texts, everybody can read and use it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.core.errors import ServerError
from orchestrator_raft.core.instance import Location, UnreachableKind
from tests.engine.fleet import Fleet, Rows, key, primary_facts, replica_facts
from tests.rest.rig import Rig
from tests.web.conftest import PATIENCE_MS, NewPage
from tests.web.looks import CONTRAST, PHONE, faults, is_too_wide
from tests.web.scene import Scene, running

expect.set_options(timeout=PATIENCE_MS)
EVIL = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>"
EVIL_LINK = "javascript:alert(3)"
VIEWS = ("clusters", "cluster/c1", "cluster/c1?server=127.0.0.1:24001", "audit-recovery", "audit-failure-detection",
         "blocked", "downtime", "audit", "about")  # fmt: skip
OLD_BOOKMARKS = {
    "clusters-analysis": "Fleet", "cluster/instance/127.0.0.1/24001": EVIL, "audit/0": "Audit",
    "audit-recovery/cluster/127.0.0.1:24000": "Recoveries of 127.0.0.1:24000", "audit-failure-detection": "Detected",
    "audit/instance/127.0.0.1/24001": "Audit of 127.0.0.1:24001", "audit-recovery-steps/nonesuch": "Recovery",
}  # fmt: skip
MANY = 40
TABS_MAX = 60
REFUSING = 24109
FLEET_PAUSE_MS = 4900
"""A little less than the page's, since it counts from a moment earlier than the browser does."""
FLEET_READS = """() => performance.getEntriesByType("resource")
  .filter((each) => new URL(each.name).pathname.endsWith("/api/v2/fleet")).map((each) => each.startTime)"""


def evil_fleet() -> Fleet:
    """One cluster all of whose words are attacks, one with many healthy replicas."""
    place = Location(EVIL, EVIL, EVIL)
    primary = key(24000)
    evil: dict[str, Any] = {"cluster_alias": EVIL, "cluster_domain": EVIL, "location": place, "version_comment": EVIL}
    facts = [primary_facts(primary, alias=EVIL_LINK, version=f"9.7{EVIL}", **evil)]
    facts += [replica_facts(key(port), primary, alias=f"{EVIL}{port}", **evil) for port in range(24001, 24004)]
    large = key(24100)
    facts.append(primary_facts(large, cluster_alias="large"))
    facts += [replica_facts(key(24100 + each), large, cluster_alias="large") for each in range(1, MANY)]
    return Fleet(facts)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running(lambda: Rig(3, fleet=evil_fleet()), 24000, 24100) as found:
        found.rig.first.prober.crash(24003, UnreachableKind.REFUSED)
        assert found.post("/api/v2/servers/127.0.0.1:24001/downtime", {"owner": EVIL, "reason": EVIL}) == 200
        assert found.post("/api/v2/pauses", {"cluster": "c1", "reason": EVIL}) == 200
        assert found.post("/api/v2/clusters/large/takeover") == 202
        found.until(lambda: not any(each.is_active for each in found.rig.raft.state.recoveries.values()))
        yield found


def show(new_page: NewPage, scene: Scene, view: str, **options: Any) -> Page:
    page = new_page(f"{scene.url('n2')}/web/{view}", **options)
    expect(page.get_by_role("status").get_by_text("live")).to_be_visible()
    expect(page.get_by_text("Loading …")).to_have_count(0)
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_names_that_are_attacks_stay_texts(scene: Scene, new_page: NewPage, view: str) -> None:
    page = show(new_page, scene, view)
    assert page.locator("#app img:not(.brand img), #app script").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    if view in ("clusters", "cluster/c1", "downtime"):
        expect(page.get_by_text(EVIL).first).to_be_visible()


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_serious_fault_and_a_phone_is_wide_enough(scene: Scene, new_page: NewPage, view: str) -> None:
    page = show(new_page, scene, view, viewport=PHONE, bypass_csp=True)
    assert not is_too_wide(page)
    assert faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page, CONTRAST) == []


@pytest.mark.parametrize(("bookmark", "heading"), OLD_BOOKMARKS.items())
def test_old_bookmarks_land_on_their_view(scene: Scene, new_page: NewPage, bookmark: str, heading: str) -> None:
    page = new_page(f"{scene.url()}/web/{bookmark}")
    expect(page.locator("h1")).to_contain_text(heading)


def test_everything_can_be_done_from_the_keyboard(scene: Scene, new_page: NewPage) -> None:
    page = show(new_page, scene, "clusters")
    page.keyboard.press("/")
    page.keyboard.type("large")
    expect(page.locator("tbody.cluster")).to_have_count(1)
    tab_to(page, "large")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("large")
    page.locator(".box").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".panel")).to_be_visible()
    page.locator(".panel summary", has_text="Marks").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Begin downtime …").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.go_back()
    expect(page.locator(".panel")).to_have_count(0)


def tab_to(page: Page, text: str) -> None:
    """Press Tab until what has this text has the focus."""
    passed = []
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.textContent"))
        if passed[-1] == text:
            return
    raise AssertionError(f"Tab never came to {text!r}, but to {passed}")


def test_many_healthy_replicas_are_one_box_until_they_are_wanted(scene: Scene, new_page: NewPage) -> None:
    page = show(new_page, scene, "cluster/large")
    more = page.get_by_role("button", name="more, all well")
    expect(more).to_be_visible()
    few = page.locator(".box").count()
    assert few < MANY / 2
    more.click()
    expect(page.locator(".box")).to_have_count(MANY)


def test_what_the_server_says_no_to_is_shown(scene: Scene, new_page: NewPage) -> None:
    page = show(new_page, scene, "cluster/c1?server=127.0.0.1:24003")
    page.locator(".panel summary", has_text="Watching").click()
    page.get_by_role("button", name="Probe now …").click()
    page.get_by_role("dialog").get_by_role("button", name="Probe now").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("127.0.0.1:24003: refused")


def test_a_plan_that_comes_late_is_not_taken_for_the_newest_choice(scene: Scene, new_page: NewPage) -> None:
    page = show(new_page, scene, "cluster/large")
    primary = scene.get("/api/v2/clusters/large/map")["cluster"]["primary"]
    first, second = [name for name in (f"127.0.0.1:{24100 + each}" for each in range(5, 8)) if name != primary][:2]
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if is_plan_of(route.request, first):
            held.append(route)
        else:
            route.continue_()

    page.route("**/takeover", hold_first)
    page.get_by_role("button", name="Take over …").click()
    dialog = page.get_by_role("dialog")
    plan, go = dialog.locator(".plan"), dialog.get_by_role("button", name="Take over")
    dialog.locator("input[name=typed]").fill("large")
    expect(go).to_be_enabled()
    with page.expect_request(lambda request: is_plan_of(request, first)):
        dialog.get_by_label("New primary").select_option(first)
    expect(plan).to_have_count(0)
    expect(go).to_be_disabled()
    dialog.get_by_label("New primary").select_option(second)
    expect(plan).to_be_visible()
    of_second = plan.inner_text()
    with page.expect_response(lambda answer: is_plan_of(answer.request, first)):
        held[0].continue_()
    page.evaluate("new Promise((done) => setTimeout(done, 500))")  # for the late answer to be drawn, if it were
    assert plan.inner_text() == of_second
    expect(go).to_be_enabled()


def is_plan_of(request: Request, target: str) -> bool:
    return request.method == "POST" and (request.post_data_json or {}).get("target") == target


def test_what_was_begun_and_failed_is_not_said_to_be_under_way(
    scene: Scene, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = scene.rig.fleet[REFUSING]
    say = server.say

    def refuse(sql: str) -> Rows:
        if sql.startswith("STOP"):
            raise ServerError(f"{server.facts.key}: it does not stop")
        return say(sql)

    monkeypatch.setattr(server, "say", refuse)
    page = show(new_page, scene, f"cluster/large?server=127.0.0.1:{REFUSING}")
    page.locator(".panel summary", has_text="Replication and writes").click()
    page.get_by_role("button", name="Stop replication …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Stop replication").click()
    expect(dialog.get_by_role("alert")).to_contain_text("It ended:")
    expect(dialog.locator(".banner.good, .banner.busy")).to_have_count(0)


def test_an_address_that_is_no_text_is_shown_as_it_stands(scene: Scene, new_page: NewPage) -> None:
    page = new_page(f"{scene.url()}/web/cluster/%ZZ")
    expect(page.locator("h1")).to_have_text("%ZZ")
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()


def test_announcements_that_fail_take_nothing_else_with_them(scene: Scene, browser: Browser) -> None:
    page = browser.new_page()  # it complains in the console, and is to
    broken = {**scene.get("/api/v2/fleet"), "pause": {"by": "", "reason": "", "since_ms": "never"}}
    page.route("**/api/v2/fleet", lambda route: route.fulfill(json=broken))
    page.goto(f"{scene.url()}/web/clusters")
    expect(page.get_by_role("alert")).to_contain_text("This part of the page failed")
    expect(page.locator("tbody.cluster")).to_have_count(2)
    page.get_by_role("link", name="Audit", exact=True).click()
    expect(page.locator("h1")).to_have_text("Audit")
    page.close()


def test_pages_of_detections_keep_their_filter(scene: Scene, new_page: NewPage) -> None:
    for kind in ("alias/large", "id/1"):
        page = show(new_page, scene, f"audit-failure-detection/{kind}?page=2")
        expect(page.get_by_role("link", name="Newer")).to_have_attribute(
            "href", f"audit-failure-detection/{kind}?page=1"
        )


def test_events_do_not_make_a_page_about_something_else_read_the_fleet(scene: Scene, new_page: NewPage) -> None:
    page = show(new_page, scene, "audit")
    asked_ms: list[float] = []
    for number in range(1000):
        page.evaluate("new Promise((done) => setTimeout(done, 100))")
        assert scene.post("/api/v2/servers/127.0.0.1:24002/tags", {"tag": f"round={number}"}) == 200
        asked_ms = page.evaluate(FLEET_READS)
        if len(asked_ms) > 2:
            break
    assert len(asked_ms) > 2, "it is read now and then"
    assert all(later - earlier > FLEET_PAUSE_MS for earlier, later in pairwise(asked_ms)), asked_ms


def test_anonymised_views_have_no_names_and_no_buttons(scene: Scene, new_page: NewPage) -> None:
    page = new_page(f"{scene.url('n2')}/web/cluster/large?anonymize=true")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    expect(page.locator("h1")).to_contain_text("cluster-")
    expect(page.locator(".box").first).to_be_visible()
    expect(page.get_by_text("large")).to_have_count(0)
    expect(page.get_by_role("button", name="Take over")).to_have_count(0)
    page.get_by_role("link", name="Fleet").first.click()
    page.locator("tbody.cluster a", has_text="cluster-").first.click()
    expect(page.locator(".box").first).to_be_visible()
    assert "anonymize=true" in page.url
    api = [each for each in asked if "/api/" in each]
    assert api
    assert all("anonymize=true" in each for each in api)
    page.get_by_role("link", name="Show names").click()
    expect(page.locator("tbody.cluster a", has_text="large")).to_be_visible()


def test_who_may_only_read_sees_no_buttons(new_page: NewPage) -> None:
    settings = ApiSettings(authentication=AuthenticationMethod.MULTI, user="ann", password="secret")
    with running(lambda: Rig(1, fleet=Fleet(()), settings=settings)) as scene:
        for user, buttons in (("readonly", False), ("ann", True)):
            word = base64.b64encode(f"{user}:secret".encode()).decode()
            page = new_page(f"{scene.url()}/web/clusters", extra_http_headers={"Authorization": f"Basic {word}"})
            expect(page.locator(".person")).to_contain_text(user)
            expect(page.get_by_role("button", name="Discover …")).to_have_count(int(buttons))

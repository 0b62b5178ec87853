"""Who is believed, what a page of another site may not do, and how guessing is slowed down."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from api.access import is_trusted_proxy
from api.logins import ADDRESSES_MAX, FORGET_AFTER_S, FREE_FAILURES, WAITING_PER_ADDRESS_MAX, Logins, delay_s
from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.operations import OPERATIONS
from tests.rest.rig import Rig
from tests.rest.test_access import BASIC, BOSS, MULTI, PROXY, READER, WRITE, basic
from tests.rest.test_routes import NATIVE, PATHS, filled

ANN = {"X-Forwarded-User": "ann"}
STRANGERS = replace(PROXY, trusted_proxies=("10.0.0.0/8",))
WRITES = [path for name, path in PATHS if next(each for each in OPERATIONS if each.name == name).writes]


async def test_a_user_named_by_somebody_who_is_no_listed_proxy_does_not_count() -> None:
    async with Rig(settings=STRANGERS) as rig:
        refused = await rig.first.get(WRITE, headers=ANN)
        assert (refused.status, refused.message) == (500, "Unauthorized")
        native = await rig.first.ask("DELETE", "/api/v2/servers/127.0.0.1:24001", headers=ANN)
        assert native.status == 403
        assert "127.0.0.1 is none of AuthTrustedProxies" in native.json["detail"]
        assert (await rig.first.get("/api/clusters", headers=ANN)).status == 200, "reading is free, as with the peers"


async def test_everybody_may_write_by_a_star_but_only_through_a_listed_proxy() -> None:
    async with Rig(settings=replace(STRANGERS, power_users=("*",))) as rig:
        assert (await rig.first.get(WRITE, headers=ANN)).message == "Unauthorized"


@pytest.mark.parametrize(
    ("remote", "trusted"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("::ffff:10.1.2.3", True), ("fd00::1", True), ("fe80::1%eth0", False),
     ("", True)],
)  # fmt: skip
def test_listed_proxies_are_addresses_and_networks(remote: str, trusted: bool) -> None:
    settings = replace(PROXY, trusted_proxies=("10.0.0.0/8", "fd00::1"))
    assert is_trusted_proxy(settings, remote) is trusted


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.asyncio(loop_scope="module")
async def test_no_route_that_writes_is_carried_out_for_a_page_of_another_site(reading: Rig, path: str) -> None:
    url = f"/api/{filled(path, path)}"
    for site in ("cross-site", "same-site", "Cross-Site"):
        answer = await reading.first.get(url, headers={"Sec-Fetch-Site": site})
        assert answer.status == 403, (url, answer.body)
        assert "another site" in answer.message
    state = reading.raft.state
    assert (state.recoveries, state.downtimes, state.recoveries_disabled) == ({}, {}, False)


@pytest.mark.parametrize("native", [native for _, native in NATIVE if not native.startswith("GET")])
@pytest.mark.asyncio(loop_scope="module")
async def test_no_native_write_is_carried_out_for_a_page_of_another_site(reading: Rig, native: str) -> None:
    method, _, path = native.partition(" ")
    url = f"/api/v2{filled('', path)}"
    assert (await reading.first.ask(method, url, headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    assert (await reading.first.ask(method, url, headers={"Origin": "http://evil.example"})).status == 403


async def test_the_same_page_and_no_page_at_all_may_write() -> None:
    async with Rig() as rig:
        await rig.discovered()
        for site in ("same-origin", "none"):
            assert (await rig.first.get(WRITE, headers={"Sec-Fetch-Site": site})).status == 200


async def test_a_follower_looks_at_the_site_before_it_forwards() -> None:
    async with Rig(2) as rig:
        await rig.discovered()
        refused = await rig["n2"].get(WRITE, headers={"Sec-Fetch-Site": "cross-site"})
        assert refused.status == 403
        assert rig.raft.state.downtimes == {}


@pytest.mark.parametrize("path", WRITES)
async def test_writes_by_get_can_be_switched_off(path: str) -> None:
    async with Rig(settings=ApiSettings(writes_by_get=False)) as rig:
        refused = await rig.first.get(f"/api/{filled(path, path)}")
        assert refused.status == 403 and "AllowWritesByGET" in refused.message


async def test_with_writes_by_get_off_the_native_api_still_writes() -> None:
    async with Rig(settings=ApiSettings(writes_by_get=False)) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        assert (await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24000/discover")).status == 200


@pytest.mark.parametrize("settings", [MULTI, replace(PROXY, power_users=()), replace(MULTI, read_only=True)])
async def test_every_route_that_writes_wants_the_right_to(settings: ApiSettings) -> None:
    """The eleven that the peers leave open among them."""
    async with Rig(settings=settings) as rig:
        for path in WRITES:
            refused = await rig.first.get(f"/api/{filled(path, path)}", headers=READER)
            assert (refused.status, refused.message) == (500, "Unauthorized"), path
        for name, native in NATIVE:
            method, _, path = native.partition(" ")
            if method != "GET":
                assert (await rig.first.ask(method, f"/api/v2{filled('', path)}", headers=READER)).status == 403, name
        assert rig.raft.state.audit == ()


class Watch:
    """A clock to move by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_delay_grows_and_is_bounded() -> None:
    delays = [delay_s(count, 3.0) for count in range(1, 60)]
    assert delays[:FREE_FAILURES] == [0.0] * FREE_FAILURES
    assert delays == sorted(delays) and delays[FREE_FAILURES] > 0 and delays[-1] == 3.0


def test_failures_are_counted_for_each_address_and_forgotten_after_a_while() -> None:
    watch = Watch()
    logins = Logins(watch, delay_max_s=3.0)
    found = [logins.failed("192.0.2.1") for _ in range(20)]
    assert found[-1] == 3.0
    assert logins.failed("192.0.2.2") == 0.0
    watch.now_s += FORGET_AFTER_S + 1
    assert logins.failed("192.0.2.1") == 0.0


def test_a_network_of_64_bits_counts_as_one_address() -> None:
    logins = Logins(Watch(), delay_max_s=3.0)
    found = [logins.failed(f"2001:db8::{number:x}") for number in range(20)]
    assert found[-1] == 3.0
    assert len(logins) == 1
    assert logins.failed("2001:db8:0:1::1") == 0.0


def test_what_is_remembered_is_bounded() -> None:
    logins = Logins(Watch(), delay_max_s=3.0)
    for number in range(ADDRESSES_MAX + 100):
        logins.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(logins) == ADDRESSES_MAX


async def test_guessing_is_slow_and_a_right_password_is_not() -> None:
    async with Rig(settings=replace(BASIC, failed_login_delay_max_s=3600)) as rig:
        wrong = basic("boss", "wrong")
        for _ in range(FREE_FAILURES):
            assert (await rig.first.get("/api/clusters", headers=wrong)).status == 401
        held = [rig.begin(rig.first.get("/api/clusters", headers=wrong)) for _ in range(WAITING_PER_ADDRESS_MAX - 1)]
        gate = rig.first.front._gate
        await rig.until(lambda: gate._logins._waiting == len(held))
        assert (await rig.first.get("/api/clusters", headers=BOSS)).status == 200
        held.append(rig.begin(rig.first.get("/api/clusters", headers=wrong)))
        await rig.until(lambda: gate._logins._waiting == len(held))
        turned_away = await rig.first.get("/api/clusters", headers=BOSS)
        assert (turned_away.status, turned_away.headers["Retry-After"]) == (429, "3")
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


def test_the_settings_tell_no_method_that_is_not_there() -> None:
    assert {each.value for each in AuthenticationMethod} == {"", "basic", "multi", "proxy", "token", "oauth"}

"""Who is let in and who may write: every method of authentication, on every kind of path."""

from __future__ import annotations

import base64
import getpass
import grp
import os
from collections.abc import Mapping
from dataclasses import replace

import pytest

from api.access import Visitor, admit, unix_groups
from api.front import Front
from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.core.errors import StartupError
from tests.rest.rig import Rig

METHOD = AuthenticationMethod
BASIC = ApiSettings(authentication=METHOD.BASIC, user="boss", password="s3cret:ü", failed_login_delay_max_s=0)
MULTI = replace(BASIC, authentication=METHOD.MULTI)
PROXY = ApiSettings(authentication=METHOD.PROXY, power_users=("ann",), power_groups=())
EVERYBODY = ApiSettings()
WRITE = "/api/begin-downtime/127.0.0.1/24001/me/why"
READ = "/api/clusters"
PATHS = (READ, WRITE, "/api/lb-check", "/api/health", "/api/leader-check", "/api/nonesuch", "/", "/api/v2/clusters")


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


BOSS = basic("boss", "s3cret:ü")
READER = basic("readonly", "anything")
NOBODIES: list[Mapping[str, str]] = [
    {}, basic("boss", "wrong"), basic("boss", ""), basic("", "s3cret:ü"), basic("ann", "s3cret:ü"),
    {"Authorization": "Basic"}, {"Authorization": "Basic !!!"}, {"Authorization": "Basic Ym9zcw=="},
    {"Authorization": "Bearer boss"}, {"Authorization": "Basic Ym9zczpzM2NyZXQ6w7w=x"},
]  # fmt: skip


@pytest.mark.parametrize("settings", [BASIC, MULTI], ids=["basic", "multi"])
async def test_who_is_not_known_gets_401_on_every_path(settings: ApiSettings) -> None:
    async with Rig(settings=settings) as rig:
        for path in PATHS:
            for headers in NOBODIES:
                answer = await rig.first.get(path, headers=headers)
                assert (answer.status, answer.body) == (401, b"Not Authorized"), (path, headers)
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="Authorization Required"'
        head = await rig.first.ask("HEAD", "/")
        assert head.status == 401, "orchestrator-client looks for this on the bare URL"


@pytest.mark.parametrize(
    ("settings", "headers", "may_write"),
    [
        (EVERYBODY, {}, True),
        (BASIC, BOSS, True),
        (MULTI, BOSS, True),
        (MULTI, READER, False),
        (MULTI, basic("readonly", ""), False),
        (PROXY, {"X-Forwarded-User": "ann"}, True),
        (PROXY, {"X-Forwarded-User": "bob"}, False),
        (PROXY, {}, False),
        (replace(PROXY, power_users=("*",)), {"X-Forwarded-User": "bob"}, True),
        (replace(PROXY, user_header="X-User"), {"X-User": "ann", "X-Forwarded-User": "bob"}, True),
        (replace(PROXY, power_users=("",)), {}, False),
    ],
)
async def test_who_is_let_in_reads_and_only_some_write(
    settings: ApiSettings, headers: Mapping[str, str], may_write: bool
) -> None:
    async with Rig(settings=settings) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        await rig.first.get("/api/discover/127.0.0.1/24000", headers=headers)
        assert (await rig.first.get(READ, headers=headers)).status == 200
        answer = await rig.first.get("/api/discover/127.0.0.1/24001", headers=headers)
        native = await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24001/refresh", headers=headers)
        if may_write:
            assert (answer.status, native.status) == (200, 200), answer.body
        else:
            assert (answer.status, native.status) == (500, 403)
            assert answer.json == {"Code": "ERROR", "Message": "Unauthorized", "Details": None}
            assert rig.raft.state.servers == {}


@pytest.mark.parametrize("settings", [EVERYBODY, BASIC, MULTI, replace(PROXY, power_users=("*",))])
async def test_a_read_only_node_lets_nobody_write(settings: ApiSettings) -> None:
    async with Rig(settings=replace(settings, read_only=True)) as rig:
        answer = await rig.first.get(WRITE, headers=BOSS)
        assert (answer.status, answer.message) == (500, "Unauthorized")
        native = await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24001/refresh", headers=BOSS)
        assert native.status == 403 and "ReadOnly" in native.json["detail"]
        assert (await rig.first.get(READ, headers=BOSS)).status == 200


async def test_a_read_only_leader_refuses_what_others_forward() -> None:
    async with Rig(2, settings_of={"n1": replace(EVERYBODY, read_only=True)}) as rig:
        await rig.until(lambda: rig["n1"].service.may_act)
        answer = await rig["n2"].get(WRITE)
        assert (answer.status, answer.message) == (500, "Unauthorized")


async def test_oauth_lets_nobody_write_and_says_so() -> None:
    async with Rig(settings=ApiSettings(authentication=METHOD.OAUTH)) as rig:
        assert (await rig.first.get(WRITE)).message == "Unauthorized"
        native = await rig.first.ask("POST", "/api/v2/servers/127.0.0.1:24001/refresh")
        assert native.status == 403 and "use basic, multi, proxy or token" in native.json["detail"]
        assert (await rig.first.get(READ)).status == 200


async def test_a_client_cannot_add_itself_beside_the_proxys_user() -> None:
    async with Rig(settings=PROXY) as rig:
        headers = [("X-Forwarded-User", "ann"), ("X-Forwarded-User", "mallory")]
        assert (await rig.first.get(WRITE, headers=headers)).message == "Unauthorized"


async def test_the_person_stands_in_the_audit_trail_and_not_what_a_client_claims() -> None:
    async with Rig(2, settings=BASIC) as rig:
        await rig.until(lambda: rig["n1"].service.may_act)
        assert (await rig["n2"].get("/api/discover/127.0.0.1/24000", headers=BOSS)).status == 200
        claims = {**BOSS, "X-Forwarded-User": "mallory"}
        await rig["n2"].get("/api/begin-downtime/127.0.0.1/24000/me/why", headers=claims)
        [entry] = [each for each in rig.raft.state.audit if each.type == "begin-downtime"]
        assert entry.by == "boss"


def test_a_reader_with_the_users_own_name_is_the_user() -> None:
    settings = ApiSettings(authentication=METHOD.MULTI, user="readonly", password="s3cret:ü")
    headers = {"authorization": (basic("readonly", "s3cret:ü")["Authorization"],)}
    found = admit(settings, Visitor(headers=headers))
    assert found is not None
    assert found.person.may_write


def test_basic_without_a_user_wants_an_empty_one() -> None:
    settings = ApiSettings(authentication=METHOD.BASIC)
    assert admit(settings, Visitor(headers={"authorization": (basic("", "")["Authorization"],)})) is not None
    assert admit(settings, Visitor(headers={})) is None


def test_several_readers_without_a_writer_are_no_set_up() -> None:
    with pytest.raises(StartupError, match="HTTPAuthUser"):
        Front(
            ApiSettings(authentication=METHOD.MULTI), None, None, None,  # type: ignore[arg-type]
            on_error=lambda *_details: None,
        )  # fmt: skip


async def test_members_of_a_power_group_may_write() -> None:
    user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
    assert group in unix_groups(user)
    settings = replace(PROXY, power_groups=(group,))
    async with Rig(settings=settings) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        allowed = await rig.first.get("/api/discover/127.0.0.1/24000", headers={"X-Forwarded-User": user})
        assert allowed.status == 200
        refused = await rig.first.get("/api/refresh/127.0.0.1/24000", headers={"X-Forwarded-User": "no such user"})
        assert refused.message == "Unauthorized"


def test_a_password_is_not_in_the_settings_text() -> None:
    assert "s3cret" not in repr(BASIC)

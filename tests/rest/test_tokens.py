"""Access tokens: the first by the user's password, used once, carried as a Bearer header or the peers' cookie."""

from __future__ import annotations

from dataclasses import replace

from api.settings import ApiSettings, AuthenticationMethod
from tests.rest.rig import Got, Node, Rig
from tests.rest.test_access import BOSS, WRITE, basic

TOKEN = ApiSettings(
    authentication=AuthenticationMethod.TOKEN, user="boss", password="s3cret:ü", failed_login_delay_max_s=0
)


async def made(node: Node, owner: str = "ann") -> str:
    headers = {**BOSS, "X-Request-ID": "chosen"}
    answer = await node.ask("POST", "/api/v2/access-tokens", headers=headers, json={"owner": owner})
    assert answer.status == 200, answer.body
    return str(answer.json["result"])


async def used(node: Node, public: str) -> Got:
    headers = {"X-Request-ID": "chosen-too"}
    return await node.ask("POST", "/api/v2/access-tokens/use", json={"public_token": public}, headers=headers)


async def test_a_token_lets_its_owner_write_on_every_node_and_the_audit_names_him() -> None:
    async with Rig(3, settings=TOKEN) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        token = (await used(rig["n2"], await made(rig["n3"]))).json["result"]
        bearer = {"Authorization": f"Bearer {token}"}
        for name in ("n1", "n2", "n3"):
            assert (await rig[name].get("/api/discover/127.0.0.1/24000", headers=bearer)).status == 200
        answer = await rig["n2"].get("/api/begin-downtime/127.0.0.1/24000/me/why", headers=bearer)
        assert answer.status == 200
        assert [each.by for each in rig.raft.state.audit if each.type == "begin-downtime"] == ["ann"]


async def test_without_a_valid_token_people_read_and_do_not_write() -> None:
    async with Rig(settings=TOKEN) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        public = await made(rig.first)
        token = (await used(rig.first, public)).json["result"]
        secret = token.partition(":")[2]
        for wrong in ("", "x", f"{public}:", f"{public}:{secret[:-1]}0", f":{secret}", f"x{public}:{secret}", public):
            headers = {"Authorization": f"Bearer {wrong}"}
            assert (await rig.first.get(WRITE, headers=headers)).message == "Unauthorized", wrong
            assert (await rig.first.get("/api/clusters", headers=headers)).status == 200
        for cookie in ("access-token", "access-token=", 'access-token="', "a=b; access-token=x:y", "=;;"):
            assert (await rig.first.get(WRITE, headers={"Cookie": cookie})).message == "Unauthorized", cookie
        assert rig.first.defects == []


async def test_a_token_is_taken_into_use_once() -> None:
    async with Rig(settings=TOKEN) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        public = await made(rig.first)
        assert (await used(rig.first, public)).status == 200
        again = await used(rig.first, public)
        assert again.status == 409 and "used already" in again.json["detail"]


async def test_only_who_may_write_makes_tokens() -> None:
    async with Rig(settings=TOKEN) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        assert (await rig.first.ask("POST", "/api/v2/access-tokens", json={"owner": "mallory"})).status == 403
        wrong = await rig.first.ask("POST", "/api/v2/access-tokens", headers=basic("boss", "wrong"))
        assert wrong.status == 401
        assert rig.raft.state.access_tokens == {}


async def test_a_browser_follows_the_peers_link_and_gets_their_cookie() -> None:
    async with Rig(settings=replace(TOKEN, url_prefix="/orc")) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        made_one = await rig.first.ask("POST", "/orc/api/v2/access-tokens", headers=BOSS)
        path = f"/orc/web/access-token?publicToken={made_one.json['result']}"
        answer = await rig.first.get(path, allow_redirects=False, headers={"Sec-Fetch-Site": "cross-site"})
        assert (answer.status, answer.headers["Location"]) == (302, "/orc/")
        cookie, _, flags = answer.headers["Set-Cookie"].partition("; ")
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=86400"} <= set(flags.split("; "))
        written = await rig.first.get("/orc/api/discover/127.0.0.1/24000", headers={"Cookie": f"x=1; {cookie}"})
        assert written.status == 200
        assert any(each.by == "boss" for each in rig.raft.state.audit)
        assert (await rig.first.get(path, allow_redirects=False)).status == 500, "once"


async def test_no_secret_of_a_token_is_in_the_state() -> None:
    async with Rig(settings=TOKEN) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        token = (await used(rig.first, await made(rig.first))).json["result"]
        public, _, secret = token.partition(":")
        assert public not in repr(rig.raft.log) and secret not in repr(rig.raft.log)
        assert rig.raft.state.answers == {}, "answers are kept, but not these"

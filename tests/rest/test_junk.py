"""Whatever is asked on whatever route: an answer in the words of the dialect, no defect, and a node that goes on."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest

from api.routing import routes
from api.settings import ApiSettings
from orchestrator_raft.operations import OPERATIONS
from tests.rest.rig import Rig

JUNK = (
    "x", "0", "-1", "99999999999999999999", "%", "..", "~", "' or 1=1 --", "\x00", "\u202e", "é" * 20, "[::1", "a:b:c",
    "*", "null", "{server}", "\U0001f600", "1e309",
)  # fmt: skip
NAME = re.compile(r"\{(\w+)\}")
ROUTES = sorted(
    {(method, "/" + "/".join(route.segments)) for route in routes(ApiSettings()) for method in route.methods}
)
STREAM = "/api/v2/events"


def known(status: int, path: str) -> bool:
    return status in (200, 202, 302, 400, 401, 403, 404, 405, 409, 422, 429, 500, 502, 503)


@pytest.mark.timeout(170)
@pytest.mark.parametrize("junk", JUNK, ids=[f"junk{number}" for number in range(len(JUNK))])
async def test_junk_on_every_route_gets_a_plain_answer(junk: str) -> None:
    """Without a fleet, so that nothing that is asked for by chance could be found and waited for."""
    names = {each.name for operation in OPERATIONS for each in operation.parameters}
    query = "&".join(f"{name}={quote(junk, safe='')}" for name in sorted(names))
    async with Rig(1) as rig:
        await rig.until(lambda: rig.first.service.may_act)
        for method, template in ROUTES:
            path = NAME.sub(quote(junk, safe=""), template)
            if path == STREAM and method == "GET":
                continue
            body = json.dumps({name: junk for name in names}).encode()
            for more in (
                {},
                {"data": body, "headers": {"Content-Type": "application/json", "Prefer": f"wait={junk!r}"}},
            ):
                for asked in (path, f"{path}?{query}"):
                    answer = await rig.first.ask(method, asked, allow_redirects=False, **more)
                    assert known(answer.status, asked), (method, asked, answer.status)
                    assert b"Traceback" not in answer.body and b"Internal error" not in answer.body, (method, asked)
        assert rig.first.defects == []
        assert (await rig.first.get("/api/lb-check")).status == 200

"""The description of the API and the routes that are served agree, both ways; the page needs nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from api import health, openapi, paging
from api.access import Forbidden
from api.native.dialect import NativeDialect
from api.repeats import OtherParameters
from api.routing import Router, routes
from api.settings import ApiSettings, AuthenticationMethod
from orchestrator_raft.core.errors import InvalidInput, Refused, ServerError, Unavailable
from orchestrator_raft.operations import OPERATION_BY_NAME, OPERATIONS
from tests.rest.rig import Rig
from tests.rest.test_routes import filled

SETTINGS = ApiSettings(url_prefix="/orc")
ROUTER = Router(routes(SETTINGS))
DOCUMENT = openapi.specification(SETTINGS, ROUTER.routes)
GONE = Unavailable("x")
NO_WRITE = OPERATION_BY_NAME["health-live"]
METHODS = {"get", "head", "post", "patch", "put", "delete", "options"}


def described() -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, each) for path, methods in DOCUMENT["paths"].items() for method, each in methods.items()]


def test_every_route_is_described_and_nothing_else() -> None:
    served = {
        (method.lower(), route.operation.name)
        for route in ROUTER.routes
        if route.is_native or route.operation.name in health.CHECKS
        for method in route.methods
    }
    told = {(method, each["operationId"].removesuffix(f"-{method}")) for method, _, each in described()}
    assert told == served
    assert {each.name for each in OPERATIONS if each.native} <= {name for _, name in told}


def test_each_described_path_leads_to_its_operation() -> None:
    for method, path, each in described():
        assert method in METHODS
        name = each["operationId"].removesuffix(f"-{method}") if method in ("head", "options") else each["operationId"]
        found = [
            match
            for match in ROUTER.match(filled(name, path).partition("?")[0])
            if method.upper() in match.route.methods
        ]
        assert [match.route.operation.name for match in found] == [name], (method, path)


def test_parameters_are_those_of_the_operations() -> None:
    for method, path, each in described():
        name = each["operationId"].removesuffix(f"-{method}") if method in ("head", "options") else each["operationId"]
        wanted = {re.sub("([A-Z])", r"_\1", one.name).lower() for one in OPERATION_BY_NAME[name].parameters}
        body = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        given = {one["name"] for one in each["parameters"] if one["in"] != "header"} | set(body.get("properties", {}))
        is_masked = method in ("get", "head") and "/v2/" in path and name not in openapi.NOT_ANONYMISED
        more = ({"anonymize"} if is_masked else set()) | ({"limit", "after"} if name in paging.LISTS else set())
        assert given == wanted | more, (method, path)
        in_path = {one["name"] for one in each["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        assert all(one["required"] for one in each["parameters"] if one["in"] == "path")


def test_operation_ids_are_unique_and_every_reference_leads_somewhere() -> None:
    ids = [each["operationId"] for _, _, each in described()]
    assert len(ids) == len(set(ids))
    references = set(re.findall(r"'\$ref': '([^']+)'", repr(DOCUMENT)))
    assert references == {"#/components/schemas/Problem"}


def test_the_statuses_that_errors_get_are_described() -> None:
    dialect = NativeDialect()
    writes = [each for _, _, each in described() if OPERATION_BY_NAME.get(each["operationId"], NO_WRITE).writes]
    assert writes
    for error in (Forbidden("x"), OtherParameters("x"), InvalidInput("x"), Refused("x"), ServerError("x"), GONE):
        status = str(dialect.failure(error).status)
        assert all(status in each["responses"] for each in writes), status


def test_who_is_let_in_how_is_described() -> None:
    for method, scheme in ((AuthenticationMethod.MULTI, "basic"), (AuthenticationMethod.TOKEN, "bearer")):
        settings = ApiSettings(authentication=method, user="x", password="s3cret")
        found = openapi.specification(settings, routes(settings))
        assert found["components"]["securitySchemes"]["credentials"]["scheme"] == scheme
        assert "s3cret" not in repr(found)
    assert "security" not in DOCUMENT


async def test_both_are_served() -> None:
    async with Rig() as rig:
        answer = await rig.first.get("/api/v2/openapi.json")
        assert answer.status == 200 and answer.json["openapi"] == "3.1.0"
        page = await rig.first.get("/api/v2/docs")
        assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
        text = page.body.decode()
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "<script" not in text and not re.search(r"(src|href)=.?(https?:)?//", text)
        for path in answer.json["paths"]:
            assert path in text

"""Every operation becomes a request that the nodes' own router takes for the same operation and arguments."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from api.routing import Router, routes
from api.settings import ApiSettings
from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.operations import OPERATION_BY_NAME, OPERATIONS, Kind, Operation, Parameter
from orchestrator_raft.raftctl.requests import Request, request

ROUTER = Router(routes(ApiSettings()))
BY_API = [each for each in OPERATIONS if each.compatible or each.native]
SAMPLES = {
    Kind.SERVER: "db1.example:3307",
    Kind.CLUSTER: "shop of Zoë",
    Kind.NUMBER: "3",
    Kind.DURATION: "10m",
    Kind.FLAG: "true",
    Kind.TEXT: "why & how!",
}


def sample(parameter: Parameter) -> str:
    return SAMPLES[parameter.kind]


def understood(made: Request) -> tuple[Operation, dict[str, str]]:
    """The operation and the raw arguments that a node finds in a request."""
    parts = urlsplit(made.path)
    found = [
        match for match in ROUTER.match(f"/api/{unquote(parts.path)}") if made.method in match.route.methods
    ]  # fmt: skip
    assert found, made
    carried = dict(parse_qsl(parts.query)) if made.method == "GET" else json.loads(made.body or b"{}")
    return found[0].route.operation, {**carried, **found[0].parameters}


@pytest.mark.parametrize("operation", BY_API, ids=lambda operation: operation.name)
def test_required_arguments_arrive(operation: Operation) -> None:
    arguments = {each.name: sample(each) for each in operation.parameters if each.required}
    if operation.name.endswith("by-alias"):
        arguments["alias"] = "shop"
    found, carried = understood(request(operation, arguments))
    assert (operation, in_snake_case(arguments) if operation.native else arguments) == (found, carried)


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.native and each.parameters], ids=lambda operation: operation.name
)
def test_all_arguments_arrive_on_native_paths(operation: Operation) -> None:
    arguments = {each.name: sample(each) for each in operation.parameters}
    found, carried = understood(request(operation, arguments))
    assert (operation, in_snake_case(arguments)) == (found, carried)


def in_snake_case(arguments: dict[str, str]) -> dict[str, str]:
    return {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in arguments.items()}


def test_a_compatible_path_carries_the_target() -> None:
    operation = OPERATION_BY_NAME["force-master-takeover"]
    made = request(operation, {"cluster": "127.0.0.1:3306", "target": "[fd00::1]:3306"})
    assert Request("GET", "force-master-takeover/127.0.0.1:3306/fd00::1/3306", writes=True, takes_long=True) == made
    assert {"cluster": "127.0.0.1:3306", "target": "[fd00::1]:3306"} == understood(made)[1]


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if any(one.name == "dry_run" for one in each.parameters)]
)
def test_a_plan_is_never_asked_for_on_a_compatible_path(operation: Operation) -> None:
    arguments = {each.name: sample(each) for each in operation.parameters}
    if operation.native:
        assert request(operation, arguments).path.startswith("v2/")
    else:
        with pytest.raises(InvalidInput, match="cannot be planned"):
            request(operation, arguments)


def test_a_failover_to_a_named_server_is_posted() -> None:
    operation = OPERATION_BY_NAME["force-master-failover"]
    made = request(operation, {"cluster": "shop", "target": "db2:3306", "dry_run": "true"})
    assert (made.method, made.path) == ("POST", "v2/clusters/shop/failover")
    assert json.loads(made.body) == {"target": "db2:3306", "dry_run": "true"}


def test_what_a_compatible_path_does_not_carry_goes_into_the_query() -> None:
    made = request(OPERATION_BY_NAME["recover-lite"], {"server": "db1:3306", "skipProcesses": "true"})
    assert "recover-lite/db1/3306?skipProcesses=true" == made.path


def test_writes_are_posted_with_a_json_body() -> None:
    made = request(OPERATION_BY_NAME["ack-recovery"], {"id": "7", "comment": "it's done"})
    assert ("POST", "v2/recoveries/7/acknowledge", b'{"comment": "it\'s done"}') == (made.method, made.path, made.body)
    assert made.writes


@pytest.mark.parametrize("text", ["../x", "a?b", "a#b", ""])
def test_what_no_path_can_carry_is_refused_before_it_is_sent(text: str) -> None:
    with pytest.raises(InvalidInput):
        request(OPERATION_BY_NAME["cluster-info"], {"cluster": text})

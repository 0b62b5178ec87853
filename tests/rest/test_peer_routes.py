"""Every route template of orchestrator: it is a row, or left out with a line that says why, or in a list that shrinks.

``data/peer_routes.txt`` has all 250, synonyms included, as both peers register them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator_raft.operations import LEFT_OUT, OPERATIONS
from tests.rest.rig import Rig

TEMPLATES = (Path(__file__).parent / "data" / "peer_routes.txt").read_text().split()
OURS = {path for operation in OPERATIONS for path in operation.compatible}
LEFT = {path: operation.help for operation in LEFT_OUT for path in operation.compatible}

NOT_SERVED_YET = frozenset({"change-master-credentials/:host/:port"})
"""Take out what is served; nothing is ever added."""


def shape(template: str) -> str:
    """Whatever the parameters are called."""
    return re.sub(r"\{\w+\}|:\w+", "*", template)


SERVED, LEFT_SHAPES = {shape(path) for path in OURS}, {shape(path) for path in LEFT}


def test_the_list_of_the_peers_routes_is_whole() -> None:
    assert len(TEMPLATES) == len({shape(each) for each in TEMPLATES}) == 250


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_route_of_the_peers_is_served_or_left_out_or_listed(template: str) -> None:
    is_served, is_left_out = shape(template) in SERVED, shape(template) in LEFT_SHAPES
    assert [is_served, is_left_out, template in NOT_SERVED_YET].count(True) == 1


def test_nothing_is_left_out_that_the_peers_do_not_have() -> None:
    assert LEFT_SHAPES <= {shape(each) for each in TEMPLATES}
    assert all("\n" not in why and len(why) < 120 for why in LEFT.values())


async def test_a_left_out_route_says_why() -> None:
    async with Rig() as rig:
        for path, why in LEFT.items():
            url = re.sub(r"\{\w+\}", "1", path)
            for given in (url, f"{url}/"):
                answer = await rig.first.get(f"/api/{given}")
                assert (answer.status, answer.json) == (500, {"Code": "ERROR", "Message": why, "Details": None})
            assert (await rig.first.ask("HEAD", f"/api/{url}")).status == 500
        assert rig.first.defects == []

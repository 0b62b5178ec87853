"""Primaries that hang: the process stands still, takes connections and says nothing. Real processes, SIGSTOP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from sandbox.binaries import Flavor
from sandbox.servers import Server
from tests.faults.stage import Stage, until
from tests.faults.stubborn import Promise, insisting

NewStage = Callable[..., Stage]
BOTH = pytest.mark.parametrize("flavor", list(Flavor), ids=lambda flavor: flavor.value)
SHORT_PAUSE_S = 1.5


@pytest.fixture
def freeze() -> Iterator[Callable[[Server], None]]:
    """Freezes a server, which goes on after the test at the latest, or it could not be stopped."""
    frozen: list[Server] = []

    def stop(server: Server) -> None:
        frozen.append(server)
        server.freeze()

    yield stop
    for server in frozen:
        server.thaw()


def wait_promise(stage: Stage) -> None:
    until("the promise is made", lambda: stage.nodes.get("/api/v2/clusters")[0]["no_loss_promise"]["holds"])


def check_there(promises: list[Promise], server: Server) -> None:
    """Every one of these rows is on that server."""
    present = {row["id"] for row in server.execute("SELECT id FROM app.ledger WHERE id >= 500000000")}
    assert promises
    assert [promise for promise in promises if promise.id not in present] == []


@BOTH
def test_a_hung_primary_is_replaced_and_nobody_is_promised_anything_when_it_goes_on(
    new_stage: NewStage, flavor: Flavor, freeze: Callable[[Server], None]
) -> None:
    """Clients that insist on the old primary are told nothing by it that the new one does not know."""
    stage = new_stage(flavor)
    stage.write()
    wait_promise(stage)
    old = stage.servers.primary()
    with insisting(old) as clients:
        until("they are acknowledged", lambda: len(clients.told) > 50)
        freeze(old)
        recovery = stage.ended("dead_primary")
        assert recovery["end"] == "succeeded"
        assert recovery["subject"]["code"] == "HungMaster"
        assert recovery["successor"] == stage.primary_of_nodes() != f"{old.host}:{old.port}"
        assert recovery["errors"] == []
        stage.wait_writes_back()
        old.thaw()
        stage.returned(old)
    check_there(clients.told, stage.server(stage.primary_of_nodes()))
    stage.writers.twofold.clear()  # it was open until it was fenced, and nobody was acknowledged there: seen above
    stage.check_nothing_lost()


@BOTH
def test_short_pauses_of_a_primary_are_no_reason_for_anything(
    new_stage: NewStage, flavor: Flavor, freeze: Callable[[Server], None]
) -> None:
    stage = new_stage(flavor)
    stage.write()
    primary = stage.servers.primary()
    for _ in range(3):
        freeze(primary)
        time.sleep(SHORT_PAUSE_S)  # the fault itself; nothing is waited for
        primary.thaw()
        stage.wait_writes_back()
    assert stage.recoveries() == []
    assert stage.primary_of_nodes() == f"{primary.host}:{primary.port}"
    stage.wait_following()
    stage.check_nothing_lost()


@BOTH
def test_without_semi_sync_what_a_hung_primary_still_takes_when_it_goes_on_is_named(
    new_stage: NewStage, flavor: Flavor, freeze: Callable[[Server], None]
) -> None:
    stage = new_stage(flavor, semi_sync=False)
    stage.write()
    old = stage.servers.primary()
    with insisting(old) as clients:
        until("they are acknowledged", lambda: len(clients.told) > 50)
        freeze(old)
        assert stage.ended("dead_primary")["end"] == "succeeded"
        stage.wait_writes_back()
        thawed_s = time.monotonic()
        old.thaw()
        returned = stage.returned(old)
    if clients.since(thawed_s):
        assert returned["end"] == "quarantined"


def test_a_hung_primary_is_left_to_its_replicas_where_people_want_it_so(
    new_stage: NewStage, freeze: Callable[[Server], None]
) -> None:
    """They give it up after replica_net_timeout, four seconds here."""
    stage = new_stage(settings={"RecoverHungMaster": False})
    stage.write()
    wait_promise(stage)
    old = stage.servers.primary()
    freeze(old)
    recovery = stage.ended("dead_primary")
    assert recovery["end"] == "succeeded"
    assert recovery["subject"]["code"] == "DeadMaster"
    stage.wait_writes_back()
    old.thaw()
    stage.returned(old)
    stage.writers.twofold.clear()
    stage.check_nothing_lost()

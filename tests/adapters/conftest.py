"""Real servers for the tests of this folder; where there are none the tests fail, they are never skipped.

Every topology has a block of ports and a directory of its own.
- ``mysql_topology``, ``mariadb_topology`` and ``topology`` (each flavour in turn): one primary, two replicas, shared by
  the tests of a module. Leave them as you found them.
- ``new_topology(flavor, count=3, **settings)`` starts one for a single test, to be killed and rearranged at will;
  ``module_topology`` does the same for a module. The settings are those of ``sandbox.topology.start``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox import ports
from sandbox.binaries import Flavor
from sandbox.topology import Topology, start

NewTopology = Callable[..., Topology]


@pytest.fixture
def new_topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewTopology]:
    """A factory of topologies that end with the test."""
    with ExitStack() as stack:
        yield factory(stack, tmp_path_factory)


@pytest.fixture(scope="module")
def module_topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewTopology]:
    """A factory of topologies that end with the module."""
    with ExitStack() as stack:
        yield factory(stack, tmp_path_factory)


@pytest.fixture(scope="module")
def mysql_topology(module_topology: NewTopology) -> Topology:
    """A MySQL primary with two replicas, shared by the module."""
    return module_topology(Flavor.MYSQL)


@pytest.fixture(scope="module")
def mariadb_topology(module_topology: NewTopology) -> Topology:
    """A MariaDB primary with two replicas, shared by the module."""
    return module_topology(Flavor.MARIADB)


@pytest.fixture(scope="module", params=list(Flavor), ids=lambda flavor: flavor.value)
def topology(request: pytest.FixtureRequest) -> Topology:
    """The shared topology of each flavour in turn."""
    found: Topology = request.getfixturevalue(f"{request.param.value}_topology")
    return found


def factory(stack: ExitStack, folders: pytest.TempPathFactory) -> NewTopology:
    """Starts topologies on reserved ports; the stack ends them and deletes their data."""

    def make(flavor: Flavor, count: int = 3, **settings: Any) -> Topology:
        block = stack.enter_context(ports.reserved())
        made = start(flavor, count, block[0], folders.mktemp(flavor.value), **settings)
        stack.callback(made.stop_all, discard=True)
        return made

    return make

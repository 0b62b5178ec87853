"""What holds for every test.

No example of hypothesis fails because a machine is slow: speed is for bench/. scripts/test starts several workers, and
the tests of a file stay with one of them, in their order. Files that take longest begin first, and those that compute
alternate with those that wait for servers, so that workers neither fight for the cores nor end apart.
"""

from __future__ import annotations

from itertools import chain, zip_longest

import pytest
from hypothesis import HealthCheck, settings

COMPUTING = ("tests/fleetsim/", "tests/sim/", "tests/recovery/")
WAITING = ("tests/faults/", "tests/web/", "tests/adapters/")

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One file that computes, two that wait, and so on; then all others."""
    files = list(dict.fromkeys(item.location[0] for item in items))
    computing = [each for folder in COMPUTING for each in files if each.startswith(folder)]
    waiting = [each for folder in WAITING for each in files if each.startswith(folder)]
    mixed = chain.from_iterable(zip_longest(computing, waiting[::2], waiting[1::2]))
    order = {name: number for number, name in enumerate(name for name in mixed if name is not None)}
    items.sort(key=lambda item: order.get(item.location[0], len(order)))

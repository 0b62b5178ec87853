"""What holds for every test.

No example of hypothesis fails because a machine is slow: speed is for bench/. Files that take longest begin first, so
that workers end together (scripts/test starts several; the tests of a file stay with one of them, and in their order).
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

LONGEST_FIRST = ("tests/fleetsim/", "tests/sim/", "tests/recovery/", "tests/faults/", "tests/web/", "tests/adapters/")

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the order within each group; the sort is stable."""
    items.sort(key=lambda item: next((n for n, each in enumerate(LONGEST_FIRST) if item.nodeid.startswith(each)), 99))

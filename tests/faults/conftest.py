"""Stages for the fault tests, one a test, ended with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sandbox.binaries import Flavor
from tests.faults.stage import Stage, open_stage

NewStage = Callable[..., Stage]


@pytest.fixture
def new_stage(tmp_path: Path) -> Iterator[NewStage]:
    """A factory of stages: ``new_stage(flavor, settings={...}, **server_settings)``."""
    with ExitStack() as stack:

        def make(flavor: Flavor = Flavor.MYSQL, **options: Any) -> Stage:
            return open_stage(stack, tmp_path, flavor, **options)

        yield make

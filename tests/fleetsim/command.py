"""``scripts/fleetsim``: see ``tests.seeded.command``."""

from __future__ import annotations

import sys

from tests.fleetsim.runs import SIMULATOR

if __name__ == "__main__":
    sys.exit(SIMULATOR.main(SIMULATOR.parser().parse_args()))

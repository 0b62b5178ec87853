"""``scripts/sim``: see ``tests.seeded.command``; it also runs the stock library."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.sim.runs import SIMULATOR
from tests.sim.stock import TROUBLES
from tests.sim.stock_report import report


def main(arguments: Sequence[str]) -> int:
    parser = SIMULATOR.parser()
    parser.add_argument("--stock", choices=TROUBLES, metavar="TROUBLE",
                        help=f"run the stock library instead; one of {', '.join(TROUBLES)}")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.stock:
        return report(options.seeds, options.stock, options.jobs)
    return SIMULATOR.main(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The clocks of one simulated machine, as functions of true time.

- The boot clock runs at its own rate. It stands still only while the whole virtual machine is frozen; a stopped process
  (SIGSTOP) and a suspended machine find it advanced.
- The wall clock may step. After a freeze it is right again at once, which is what a node has to notice the freeze by.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class MachineClock:
    """``rate`` is how fast it runs against true time; a drift bound is assumed, design D4."""

    rate: float = 1.0
    offset_s: float = 0.0
    wall_step_s: float = 0.0
    frozen_s: float = 0.0
    """How long the machine has been frozen so far, freezes that have ended only."""
    frozen_since_s: float | None = None

    def boot_s(self, now_s: float) -> float:
        running_until_s = now_s if self.frozen_since_s is None else self.frozen_since_s
        return (running_until_s - self.frozen_s) * self.rate + self.offset_s

    def wall_s(self, now_s: float) -> float:
        return now_s * self.rate + self.wall_step_s

    @property
    def is_frozen(self) -> bool:
        return self.frozen_since_s is not None

    def freeze(self, now_s: float) -> None:
        self.frozen_since_s = now_s

    def thaw(self, now_s: float) -> None:
        if self.frozen_since_s is not None:
            self.frozen_s += now_s - self.frozen_since_s
            self.frozen_since_s = None

    def step_wall(self, by_s: float) -> None:
        self.wall_step_s += by_s

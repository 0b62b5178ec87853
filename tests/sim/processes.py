"""Sequential behaviour in virtual time: a generator that yields what it waits for. Clients are written like this.

``result = yield Wait(seconds, signal)`` goes on when the signal fires, with its value, or when the time is over, with
None. A process belongs to somebody who may die, or stand still: ``alive`` is asked before every step, ``wakes_s`` says
when it may go on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol


class Agenda(Protocol):
    """Where steps are put."""

    now_s: float

    def at(self, delay_s: float, action: Any, *arguments: Any) -> None: ...


@dataclass(slots=True)
class Signal:
    """Fires once; later firings change nothing."""

    value: Any = None
    fired: bool = False
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def fire(self, value: Any) -> None:
        if not self.fired:
            self.value, self.fired = value, True
            for listener in self.listeners:
                listener()
            self.listeners.clear()


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float
    signal: Signal | None = None


Steps = Generator[Wait, Any, Any]


class Process:
    """Runs ``steps``; ``done`` fires with what they return, or never if the owner dies."""

    def __init__(
        self, agenda: Agenda, steps: Steps, *, alive: Callable[[], bool], wakes_s: Callable[[], float]
    ) -> None:
        self.done = Signal()
        self._agenda = agenda
        self._steps = steps
        self._alive = alive
        self._wakes_s = wakes_s
        self._turn = 0
        self._signal: Signal | None = None
        agenda.at(0.0, self._go_on, 0)

    def _go_on(self, turn: int) -> None:
        if turn != self._turn or not self._alive():
            return
        left_s = self._wakes_s() - self._agenda.now_s
        if left_s > 0:
            self._agenda.at(left_s, self._go_on, turn)
            return
        self._turn += 1
        signal, self._signal = self._signal, None
        try:
            wait = self._steps.send(signal.value if signal is not None and signal.fired else None)
        except StopIteration as end:
            self.done.fire(end.value)
            return
        turn, self._signal = self._turn, wait.signal
        if wait.signal is not None and not wait.signal.fired:
            wait.signal.listeners.append(lambda: self._agenda.at(0.0, self._go_on, turn))
        self._agenda.at(0.0 if wait.signal is not None and wait.signal.fired else wait.seconds, self._go_on, turn)

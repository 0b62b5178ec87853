"""Which level brought what into the log: the table that lets two versions share a cluster while it is upgraded.

A level is released with a version. Whoever adds a command, a field of anything in a command or in the state, or a value
of an enumeration there, after that release, adds 1 to ``NEWEST`` (once for each release) and a row to ``SINCE``:
'Class', 'Class.field' or 'Enum.MEMBER' to the level. Until all members know that level it is neither written nor
accepted. What a command means at a level never changes: another meaning is another command or field.
``tests/core/test_levels.py`` compares the code with what was released.
"""

from __future__ import annotations

from collections.abc import Mapping

OLDEST = 1
"""The lowest level whose log and snapshots this version still reads."""
NEWEST = 1
SINCE: Mapping[str, int] = {}

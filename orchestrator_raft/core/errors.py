"""The few error types of the product, chosen by *who must react* rather than by where the trouble arose.

Rules for this file: an error message says what happened, to which server or node, and what to do next; expected
failures of databases are values (``Unreachable``, ``Outcome``), never exceptions; a new type needs a new reader.
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """Base of everything that is raised on purpose; its text is fit to be shown to the person who asked."""


class InvalidInput(OrchestratorError):
    """The caller has to change the request: an unknown server, a malformed address, a value out of range."""


class Refused(OrchestratorError):
    """The request is well formed, but carrying it out now would be wrong; the text says why and what to do."""


class Changed(Refused):
    """What the request was made for is another thing by now: read it again, and decide anew."""


class Unavailable(OrchestratorError):
    """Nobody can answer now (no leader, no quorum, a deadline passed): ask again or ask elsewhere."""


class Overloaded(Refused, Unavailable):
    """A limit of what is done at once is reached. Nothing was begun, so nothing is in doubt: ask again later."""


class AuthorityLost(Unavailable):
    """This node may no longer act: its lease ended, or another leader holds the recovery. Stop, touch nothing."""


class ServerError(OrchestratorError):
    """A database server did not do what it was asked; the text names the server and the statement."""

    number: int = 0
    """The server's own error number, where it gave one."""


class StartupError(OrchestratorError):
    """This node cannot start. The text is one line that names the cause and the way out."""

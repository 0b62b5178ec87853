"""Who asks, and may they write: the methods of AuthenticationMethod (pure but for the groups, which are handed in).

- Secrets are compared in constant time, user and password both, whatever the first comparison says.
- Who is not let in gets 401 on every path. Who is let in and may not write gets ``Unauthorized`` from each write; the
  peers' clients compare that text.
"""

from __future__ import annotations

import base64
import binascii
import grp
import hmac
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator_raft.core.errors import Refused, StartupError
from orchestrator_raft.engine.service import Person

from .settings import ApiSettings, AuthenticationMethod

READER = "readonly"
UNAUTHORIZED = "Unauthorized"
CHALLENGE = ("WWW-Authenticate", 'Basic realm="Authorization Required"')
NOT_ADMITTED = b"Not Authorized"


class Forbidden(Refused):
    """This person may not do that, whatever the state of things."""


HeaderValues = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Somebody who was let in."""

    person: Person
    why_not_write: str = UNAUTHORIZED
    """What a write is answered with when this person may not write."""


def check(settings: ApiSettings) -> None:
    """Raises StartupError for settings under which nobody could be told apart."""
    if settings.authentication is AuthenticationMethod.MULTI and not settings.user:
        raise StartupError("AuthenticationMethod multi has no user: set HTTPAuthUser and HTTPAuthPassword")


def admit(settings: ApiSettings, headers: HeaderValues, groups: frozenset[str] = frozenset()) -> Admitted | None:
    """Who it is, or None for nobody. ``groups`` are the Unix groups of the user that a proxy names."""
    admitted = METHODS[settings.authentication](settings, headers, groups)
    if admitted is not None and settings.read_only:
        return Admitted(Person(admitted.person.name, may_write=False))
    return admitted


def _everybody(_settings: ApiSettings, _headers: HeaderValues, _groups: frozenset[str]) -> Admitted | None:
    return Admitted(Person(""))


def _basic(settings: ApiSettings, headers: HeaderValues, _groups: frozenset[str]) -> Admitted | None:
    given = _credentials(headers)
    if given is None or not _is_the_user(settings, *given):
        return None
    return Admitted(Person(settings.user))


def _multi(settings: ApiSettings, headers: HeaderValues, groups: frozenset[str]) -> Admitted | None:
    given = _credentials(headers)
    if given is not None and given[0] == READER.encode() and not _is_the_user(settings, *given):
        return Admitted(Person(READER, may_write=False))
    return _basic(settings, headers, groups)


def _is_the_user(settings: ApiSettings, user: bytes, password: bytes) -> bool:
    right_user = hmac.compare_digest(user, settings.user.encode())
    right_password = hmac.compare_digest(password, settings.password.encode())
    return right_user and right_password


def _credentials(headers: HeaderValues) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header; None without a well-formed one."""
    scheme, _, encoded = headers.get("authorization", ("",))[0].strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def proxy_user(settings: ApiSettings, headers: HeaderValues) -> str:
    """The user that the proxy names; nobody when there are several, since one of them then comes from the client."""
    named = set(headers.get(settings.user_header.lower(), ()))
    return named.pop() if len(named) == 1 else ""


def _proxy(settings: ApiSettings, headers: HeaderValues, groups: frozenset[str]) -> Admitted | None:
    user = proxy_user(settings, headers)
    named = user != "" and user in settings.power_users
    may_write = named or "*" in settings.power_users or bool(groups & set(settings.power_groups))
    return Admitted(Person(user, may_write=may_write))


def _reader(settings: ApiSettings, _headers: HeaderValues, _groups: frozenset[str]) -> Admitted | None:
    reason = (
        f"{UNAUTHORIZED}: AuthenticationMethod {settings.authentication.value} lets everybody read and nobody write on"
        " this version: use basic, multi or proxy"
    )
    return Admitted(Person("", may_write=False), reason)


Method = Callable[[ApiSettings, HeaderValues, frozenset[str]], Admitted | None]
METHODS: dict[AuthenticationMethod, Method] = {
    AuthenticationMethod.NONE: _everybody,
    AuthenticationMethod.BASIC: _basic,
    AuthenticationMethod.MULTI: _multi,
    AuthenticationMethod.PROXY: _proxy,
    AuthenticationMethod.TOKEN: _reader,
    AuthenticationMethod.OAUTH: _reader,
}


def unix_groups(user: str) -> frozenset[str]:
    """Names of a user's Unix groups. May ask a directory service, so it is never called on the event loop."""
    try:
        primary = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        return frozenset()
    return frozenset({primary, *(group.gr_name for group in grp.getgrall() if user in group.gr_mem)})

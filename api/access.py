"""Who asks, and may they write: the methods of AuthenticationMethod (pure; groups and tokens are handed in).

- Secrets are compared in constant time, user and password both, whatever the first comparison says.
- Who is not let in gets 401 on every path. Who is let in and may not write gets ``Unauthorized`` from each write; the
  peers' clients compare that text.
- A browser says where a request comes from. A page of another site must not act with the credentials that the browser
  holds, so a write that comes from one is refused, whatever its method.
"""

from __future__ import annotations

import base64
import binascii
import grp
import hmac
import ipaddress
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie

from orchestrator_raft.core.errors import Refused, StartupError
from orchestrator_raft.engine.service import Person

from .exchange import Ask
from .settings import ApiSettings, AuthenticationMethod

READER = "readonly"
UNAUTHORIZED = "Unauthorized"
CHALLENGE = ("WWW-Authenticate", 'Basic realm="Authorization Required"')
NOT_ADMITTED = b"Not Authorized"
NO_CERTIFICATE, WRONG_UNIT = b"No TLS", b"Invalid OU"
TOKEN_COOKIE = "access-token"
FOREIGN_SITES = ("cross-site", "same-site")


class Forbidden(Refused):
    """This person may not do that, whatever the state of things. ``peers`` is what orchestrator says then."""

    def __init__(self, text: str, *, peers: str = UNAUTHORIZED) -> None:
        super().__init__(text)
        self.peers = peers


class ForbiddenHere(Forbidden):
    """Nobody may do that in this way; answered with 403 in every dialect."""

    def __init__(self, text: str) -> None:
        super().__init__(text, peers=text)


HeaderValues = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """All by which somebody may be known."""

    headers: HeaderValues
    remote: str = ""
    groups: frozenset[str] = frozenset()
    """Unix groups of the user that a proxy names."""
    token_owner: str | None = None
    """Whose valid access token it is that was presented."""


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


def admit(settings: ApiSettings, visitor: Visitor) -> Admitted | None:
    """Who it is, or None for nobody."""
    admitted = METHODS[settings.authentication](settings, visitor)
    if admitted is not None and settings.read_only and admitted.person.may_write:
        reason = "this node has ReadOnly set in its configuration and changes nothing"
        return Admitted(replace(admitted.person, may_write=False), reason)
    return admitted


def _everybody(_settings: ApiSettings, _visitor: Visitor) -> Admitted | None:
    return Admitted(Person(""))


def _basic(settings: ApiSettings, visitor: Visitor) -> Admitted | None:
    given = credentials(visitor.headers)
    if given is None or not _is_the_user(settings, *given):
        return None
    return Admitted(Person(settings.user))


def _multi(settings: ApiSettings, visitor: Visitor) -> Admitted | None:
    given = credentials(visitor.headers)
    if given is not None and given[0] == READER.encode() and not _is_the_user(settings, *given):
        return Admitted(Person(READER, may_write=False), f"the user {READER} only reads: use {settings.user}")
    return _basic(settings, visitor)


def _is_the_user(settings: ApiSettings, user: bytes, password: bytes) -> bool:
    right_user = hmac.compare_digest(user, settings.user.encode())
    right_password = hmac.compare_digest(password, settings.password.encode())
    return right_user and right_password


def credentials(headers: HeaderValues) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header; None without a well-formed one."""
    scheme, encoded = _authorization(headers)
    if scheme != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def _authorization(headers: HeaderValues) -> tuple[str, str]:
    scheme, _, rest = headers.get("authorization", ("",))[0].strip().partition(" ")
    return scheme.lower(), rest.strip()


def proxy_user(settings: ApiSettings, headers: HeaderValues, remote: str) -> str:
    """The user that a proxy names; nobody when no trusted proxy asks, or when there are several users: then one of
    them comes from the client.
    """
    named = set(headers.get(settings.user_header.lower(), ()))
    return named.pop() if len(named) == 1 and is_trusted_proxy(settings, remote) else ""


def is_trusted_proxy(settings: ApiSettings, remote: str) -> bool:
    """Whether the peer of this connection is listed; one that reaches the unix socket has the right by the file."""
    if not remote:
        return True
    address = ipaddress.ip_address(remote.partition("%")[0])
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in ipaddress.ip_network(each) for each in settings.trusted_proxies)


def _proxy(settings: ApiSettings, visitor: Visitor) -> Admitted | None:
    user = proxy_user(settings, visitor.headers, visitor.remote)
    if not is_trusted_proxy(settings, visitor.remote):
        why = f"{visitor.remote} is none of AuthTrustedProxies, so {settings.user_header} from there does not count"
        return Admitted(Person("", may_write=False), why)
    named = user != "" and user in settings.power_users
    may_write = named or "*" in settings.power_users or bool(visitor.groups & set(settings.power_groups))
    who = f"'{user}'" if user else f"a request without one {settings.user_header}"
    return Admitted(Person(user, may_write=may_write), f"{who} is in neither PowerAuthUsers nor PowerAuthGroups")


def presented_token(headers: HeaderValues) -> str:
    """The access token, ``public:secret``, of a Bearer header or of the peers' cookie; empty without one."""
    scheme, rest = _authorization(headers)
    if scheme == "bearer":
        return rest
    for text in headers.get("cookie", ()):
        try:
            found = SimpleCookie(text).get(TOKEN_COOKIE)
        except CookieError:
            continue
        if found is not None:
            return found.value
    return ""


def _token(settings: ApiSettings, visitor: Visitor) -> Admitted | None:
    """Everybody reads; who has a token writes, and so does the user, who can make the first token."""
    if settings.user and settings.password and credentials(visitor.headers) is not None:
        return _basic(settings, visitor)
    if visitor.token_owner is not None:
        return Admitted(Person(visitor.token_owner))
    return Admitted(Person("", may_write=False), "a write needs an access token: raftctl access-token makes one")


def _reader(_settings: ApiSettings, _visitor: Visitor) -> Admitted | None:
    reason = "AuthenticationMethod oauth lets everybody read and nobody write: use basic, multi, proxy or token"
    return Admitted(Person("", may_write=False), reason)


Method = Callable[[ApiSettings, Visitor], Admitted | None]
METHODS: dict[AuthenticationMethod, Method] = {
    AuthenticationMethod.NONE: _everybody,
    AuthenticationMethod.BASIC: _basic,
    AuthenticationMethod.MULTI: _multi,
    AuthenticationMethod.PROXY: _proxy,
    AuthenticationMethod.TOKEN: _token,
    AuthenticationMethod.OAUTH: _reader,
}


def certificate_refusal(settings: ApiSettings, ask: Ask) -> bytes:
    """Why the client's certificate does not do, in the peers' words; empty when it does or none is demanded."""
    is_status = settings.status_path in ask.path
    if not settings.client_certificates or (is_status and not settings.status_needs_certificate):
        return b""
    if ask.certificate is None:
        return NO_CERTIFICATE
    if settings.client_units and not set(ask.certificate.units) & set(settings.client_units):
        return WRONG_UNIT
    return b""


def named(admitted: Admitted, ask: Ask) -> Admitted:
    """With the name in the client's certificate where nothing else names the person."""
    if admitted.person.name or ask.certificate is None:
        return admitted
    return replace(admitted, person=replace(admitted.person, name=ask.certificate.name))


def check_site(ask: Ask) -> None:
    """Raises ForbiddenHere for a write that a page of another site makes a browser send."""
    site = ask.header("sec-fetch-site").lower()
    if site in FOREIGN_SITES:
        raise ForbiddenHere(f"a page of another site may not act here (Sec-Fetch-Site: {site})")
    origin = ask.header("origin")
    if origin and origin.partition("://")[2] != ask.header("host"):
        raise ForbiddenHere(f"a page of {origin} may not act here")


def check_get(settings: ApiSettings, ask: Ask) -> None:
    """Raises ForbiddenHere where state-changing routes of the compatible API are switched off."""
    if ask.method in ("GET", "HEAD") and not settings.writes_by_get:
        raise ForbiddenHere(
            "AllowWritesByGET is false in the configuration of this node: nothing is changed by GET; use raftctl, or "
            "POST, PATCH and DELETE below /api/v2"
        )


def unix_groups(user: str) -> frozenset[str]:
    """Names of a user's Unix groups. May ask a directory service, so it is never called on the event loop."""
    try:
        primary = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        return frozenset()
    return frozenset({primary, *(group.gr_name for group in grp.getgrall() if user in group.gr_mem)})

"""What the HTTP side is told at start: plain values, made from the configuration by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

DEFAULT_STATUS_PATH = "/api/status"


class AuthenticationMethod(Enum):
    """How people are known; the words are those of the key AuthenticationMethod."""

    NONE = ""
    BASIC = "basic"
    MULTI = "multi"
    PROXY = "proxy"
    TOKEN = "token"
    OAUTH = "oauth"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Everything the HTTP side needs to know about itself."""

    url_prefix: str = ""
    """In front of every path, without a slash at its end."""
    status_path: str = DEFAULT_STATUS_PATH
    """StatusEndpoint: any other value than the default is served as it stands, without the prefix."""
    authentication: AuthenticationMethod = AuthenticationMethod.NONE
    user: str = ""
    password: str = field(default="", repr=False)
    user_header: str = "X-Forwarded-User"
    power_users: tuple[str, ...] = ("*",)
    power_groups: tuple[str, ...] = ()
    read_only: bool = False
    message_identity: str = ""
    """Who speaks, in front of each message of the compatible API; empty leaves messages as they are."""
    body_bytes_max: int = 64 * 1024

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
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1")
    """Addresses and networks from which ``user_header`` is believed; a unix socket always is."""
    power_users: tuple[str, ...] = ("*",)
    power_groups: tuple[str, ...] = ()
    token_valid_s: int = 24 * 3600
    """For so long a browser keeps an access token."""
    failed_login_delay_max_s: float = 3.0
    """The longest that the answer to a wrong password is held back."""
    read_only: bool = False
    writes_by_get: bool = True
    """Serve the routes of the compatible API that change something."""
    client_certificates: bool = False
    """Demand a client certificate (UseMutualTLS)."""
    client_units: tuple[str, ...] = ()
    """Organizational units of which a client certificate has to have one; empty for any."""
    status_needs_certificate: bool = False
    web_message: str = ""
    """A banner on the web page."""
    hidden_in_host_names: str = ""
    """A text that the web page leaves out of the names of servers."""
    message_identity: str = ""
    """Who speaks, in front of each message of the compatible API; empty leaves messages as they are."""
    body_bytes_max: int = 64 * 1024
    fails_without_quorum: bool = False
    """What the health of clusters is without contact to a majority; False: the last answer holds."""
    no_quorum_after_s: float = 10.0

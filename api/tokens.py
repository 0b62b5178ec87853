"""How a browser gets its access token: the peers' link ``/web/access-token?publicToken=...`` sets their cookie."""

from __future__ import annotations

from .access import TOKEN_COOKIE
from .exchange import TEXT, Answer, Ask
from .settings import ApiSettings

OPERATION = "use-access-token"


def taken(token: str, settings: ApiSettings, ask: Ask) -> Answer:
    """To the first page, with the token in a cookie that no script and no other site's page can use."""
    secure = "; Secure" if ask.over_tls else ""
    cookie = f"{TOKEN_COOKIE}={token}; Path=/; Max-Age={settings.token_valid_s}; HttpOnly; SameSite=Strict{secure}"
    headers = (("Set-Cookie", cookie), ("Location", f"{settings.url_prefix}/"), ("Cache-Control", "no-store"))
    return Answer(status=302, body=b"", content_type=TEXT, headers=headers)

"""The types of values that need more than a JSON type: addresses, URLs, regexes, cluster filters, words of a list.

Each check takes the text as written and returns what the model keeps, or raises ValueError with the end of a sentence
that begins with the key and the value. Regexes are Python's; where RE2, which orchestrator uses, would understand
another thing, the check refuses instead of matching something else in silence.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from orchestrator_raft.config.findings import shown
from orchestrator_raft.config.keys import PORT_MAX
from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.core.instance import parse_key

_ADDRESS = re.compile(r"^(?:\[(?P<v6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:/\[\]]*))(?::(?P<port>[0-9]{1,9}))?\Z")
UNSPECIFIED_HOSTS = (None, "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or to dial. ``host`` None means every address of this machine."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or ""
        return f"{host}:{self.port}"


def parse_address(text: str, default_port: int | None = None) -> Address:
    """``host:port``, ``:port``, ``[v6]:port``; where there is a default port, without one, too. Raises ValueError."""
    if default_port is not None and _is_bare_v6(text):
        return Address(text, default_port)
    match = _ADDRESS.match(text)
    if match is None or not text:
        raise ValueError("is no address: write host:port, an IPv6 address as [address]:port")
    port = default_port if match["port"] is None else int(match["port"])
    if port is None:
        raise ValueError("has no port: write host:port or :port")
    if not 0 < port <= PORT_MAX:
        raise ValueError(f"has a port outside 1 to {PORT_MAX}")
    return Address(match["v6"] or match["host"] or None, port)


def _is_bare_v6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _listen_address(text: str) -> str:
    parse_address(text)
    return text


def _bind_address(text: str) -> str:
    if text:
        parse_address(text, default_port=1)
    return text


def _dial_address(text: str) -> str:
    if text and parse_address(text, default_port=1).host in UNSPECIFIED_HOSTS:
        raise ValueError("names no host that another node could dial: write host:port")
    return text


def _dial_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            if not text:
                raise ValueError("is empty")
            _dial_address(text)
        except ValueError as problem:
            raise ValueError(f"has the entry {shown(text)}, which {problem}") from None
    return texts


def _server_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            parse_key(text)
        except InvalidInput:
            raise ValueError(
                f"has the entry {shown(text)}, which is no server address: write host:port, [address]:port for IPv6"
            ) from None
    return texts


def _advertised_url(text: str) -> str:
    """Scheme, host and port, and nothing else: what orchestrator demands of HTTPAdvertise."""
    if not text:
        return text
    example = "write http://host:port without a path"
    try:
        parts = urlsplit(text)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError:
        raise ValueError(f"is no URL with a port of 1 to {PORT_MAX}: {example}") from None
    if user is not None:
        raise ValueError(f"must not hold credentials, every node sees it: {example}")
    missing = [name for name, part in (("scheme", parts.scheme), ("host", host), ("port", port)) if not part]
    if missing:
        raise ValueError(f"has no {' and no '.join(missing)}: {example}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"has the scheme {parts.scheme}: {example}, or https")
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f"has something after the port: {example}")
    return text


def _prefix(text: str) -> str:
    """One slash in front, none behind; nothing stays nothing."""
    bare = text.strip("/")
    return f"/{bare}" if bare else ""


def _folder_prefix(text: str) -> str:
    """One slash behind, as orchestrator makes it; a lone slash stays."""
    return text if text == "/" else text.rstrip("/") + "/"


def _check_regex(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(text)
    except (re.error, Warning, OverflowError, RecursionError) as problem:
        reason = str(problem) or type(problem).__name__
        raise ValueError(f"has the regex {shown(text)}, which Python's re refuses: {reason}") from None


def _regex(text: str) -> str:
    _check_regex(text)
    return text


def _regex_with_group(text: str) -> str:
    if text and _check_regex(text).groups == 0:
        raise ValueError("has no group: put ( ) around the part of the host name that is wanted")
    return text


def _regexes(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not text:
            raise ValueError('has an empty regex, which matches every server: remove it, or write ".*" if meant')
        _check_regex(text)
    return texts


def _cluster_filters(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not text:
            raise ValueError('has an empty entry, which matches every cluster: remove it, or write "*" if meant')
        if text == "*" or text.startswith("alias="):
            continue
        try:
            _check_regex(text.removeprefix("alias~="))
        except ValueError as problem:
            raise ValueError(f"{problem}; write * for every cluster, alias=NAME for an exact alias") from None
    return texts


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError(
                f"has the entry {shown(text)}, which is no address and no network: write 10.0.0.7 or 10.0.0.0/24"
            ) from None
    return texts


def _regex_keys(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    for regex, _alias in pairs:
        _check_regex(regex)
    return pairs


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _resolve_method(value: object) -> object:
    return {"": "none"}.get(value.lower(), value.lower()) if isinstance(value, str) else value


def _server_name_method(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = {"": "none", "default": "@@hostname", "hostname": "@@hostname", "report_host": "@@report_host"}
    return names.get(value.lower(), value.lower())


def _authentication_method(value: object) -> object:
    return {"none": ""}.get(value.lower(), value.lower()) if isinstance(value, str) else value


ListenText = Annotated[str, AfterValidator(_listen_address)]
BindText = Annotated[str, AfterValidator(_bind_address)]
DialText = Annotated[str, AfterValidator(_dial_address)]
DialTexts = Annotated[tuple[str, ...], AfterValidator(_dial_addresses)]
ServerTexts = Annotated[tuple[str, ...], AfterValidator(_server_addresses)]
AdvertisedUrl = Annotated[str, AfterValidator(_advertised_url)]
UrlPrefix = Annotated[str, AfterValidator(_prefix)]
FolderPrefix = Annotated[str, AfterValidator(_folder_prefix)]
NetworkTexts = Annotated[tuple[str, ...], AfterValidator(_networks)]
RegexText = Annotated[str, AfterValidator(_regex)]
GroupRegexText = Annotated[str, AfterValidator(_regex_with_group)]
RegexTexts = Annotated[tuple[str, ...], AfterValidator(_regexes)]
ClusterFilterTexts = Annotated[tuple[str, ...], AfterValidator(_cluster_filters)]
RegexToText = Annotated[tuple[tuple[str, str], ...], AfterValidator(_regex_keys)]
ResolveMethod = Annotated[Literal["none", "default", "cname", "ip"], BeforeValidator(_resolve_method)]
ServerNameMethod = Annotated[Literal["none", "@@hostname", "@@report_host"], BeforeValidator(_server_name_method)]
AuthenticationMethod = Annotated[
    Literal["", "basic", "multi", "proxy", "token", "oauth"], BeforeValidator(_authentication_method)
]
LossPolicy = Annotated[Literal["auto", "none", "seconds", "any"], BeforeValidator(_lower)]
EventSchedulerPolicy = Annotated[Literal["none", "move", "enforce"], BeforeValidator(_lower)]
UnwriteableMasterPolicy = Annotated[Literal["none", "failover"], BeforeValidator(_lower)]
NoQuorumHealth = Annotated[Literal["hold", "fail"], BeforeValidator(_lower)]
ConsulScheme = Annotated[Literal["http", "https"], BeforeValidator(_lower)]

"""The native API described from the operations' rows: OpenAPI 3.1, and the same as a page to read.

Both are made once, from the very routes that are served, so they cannot tell of others. The page needs nothing from
anywhere else: no script, no font, no other site.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from orchestrator_raft import __version__
from orchestrator_raft.operations import Kind, Operation, Parameter

from .exchange import Answer
from .health import CHECKS
from .paging import LIMIT_MAX, LISTS
from .routing import Route
from .settings import ApiSettings, AuthenticationMethod
from .versions import VERSIONED

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_NAME = re.compile(r"\{(\w+)\}")
NO_OTHER_SITE = (("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),)
SCHEMAS: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: {"type": "string"},
    Kind.SERVER: {"type": "string", "pattern": r"^.+:\d{1,5}$"},
    Kind.CLUSTER: {"type": "string"},
    Kind.DURATION: {"type": "string", "pattern": r"^\d+[smhdw]$"},
    Kind.NUMBER: {"type": "integer", "minimum": 0, "maximum": 999999999},
    Kind.FLAG: {"type": "boolean"},
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}  # fmt: skip
PROBLEMS = {
    400: "A parameter is missing or wrong; the detail names it",
    401: "Nobody is let in like this",
    403: "This person may not do that, or a page of another site asks",
    409: "Refused: doing it now would be wrong; the detail says why",
    412: "It was changed since it was read: read it again, and decide anew (If-Match)",
    422: "This X-Request-ID was used before with other parameters",
    429: "Too many failed logins from this address",
    500: "A defect; the log has it under the request's id",
    502: "A database server did not do what it was asked",
    503: "Nobody can answer now: ask again, or another node",
}
NOT_ANONYMISED = ("events", "openapi", "api-page")
ANONYMIZE = {
    "name": "anonymize", "in": "query", "required": False, "schema": {"type": "boolean"},
    "description": "Replace the names of hosts, places, clusters and users, each by the same stand-in everywhere",
}  # fmt: skip
PORTION = [
    {
        "name": "limit", "in": "query", "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
        "description": "At most so many entries; Link leads to the next, X-Total-Count counts all",
    },
    {
        "name": "after", "in": "query", "required": False, "schema": {"type": "string"},
        "description": "Begin after this entry (its address, id, number or name)",
    },
]  # fmt: skip
WRITE_PROBLEMS = (400, 401, 403, 409, 412, 422, 429, 500, 502, 503)
READ_PROBLEMS = (400, 401, 429, 500, 503)
WRITE_HEADERS = (
    ("X-Request-ID", "Makes the request repeatable: the same id again gets the first answer, for a day"),
    ("Prefer", "wait=SECONDS: answer a long operation when it has ended; without it, 202 at once"),
)
VERSION_HEADERS = (
    ("If-Match", "The ETag that was read: refused with 412 where it has been set since"),
    ("If-None-Match", "*: only where there is none"),
)
SCHEMES: Mapping[AuthenticationMethod, dict[str, Any]] = {
    AuthenticationMethod.BASIC: {"type": "http", "scheme": "basic"},
    AuthenticationMethod.MULTI: {"type": "http", "scheme": "basic"},
    AuthenticationMethod.TOKEN: {"type": "http", "scheme": "bearer"},
}


class Pages:
    """The description, ready to be served."""

    def __init__(self, settings: ApiSettings, routes: Iterable[Route]) -> None:
        described = specification(settings, routes)
        body = orjson.dumps(described, option=orjson.OPT_INDENT_2)
        self.specification = Answer(status=200, body=body, content_type="application/json")
        page = page_of(described).encode()
        self.page = Answer(status=200, body=page, content_type="text/html; charset=utf-8", headers=NO_OTHER_SITE)


def specification(settings: ApiSettings, routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI document of the native routes and of the health checks among ``routes``."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.is_native or route.operation.name in CHECKS:
            template = "/" + "/".join(route.segments)
            for method in route.methods:
                paths.setdefault(_snake_names(template), {})[method.lower()] = _described(route, method, template)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "orchestrator_raft", "version": __version__, "license": {"name": "Apache-2.0"},
            "description": "High availability of MySQL and MariaDB. Every node answers; followers ask the leader.",
        },
        "paths": paths,
        "components": {"schemas": {"Problem": PROBLEM}},
    }  # fmt: skip
    scheme = SCHEMES.get(settings.authentication)
    if scheme is not None:
        document["components"]["securitySchemes"] = {"credentials": scheme}
        document["security"] = [{"credentials": []}]
    return document


def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def _snake_names(template: str) -> str:
    return _NAME.sub(lambda match: "{" + _snake(match[1]) + "}", template)


def _described(route: Route, method: str, template: str) -> dict[str, Any]:
    operation = route.operation
    in_path = set(_NAME.findall(template))
    rest = [each for each in operation.parameters if each.name not in in_path]
    described: dict[str, Any] = {
        "operationId": operation.name if method not in ("HEAD", "OPTIONS") else f"{operation.name}-{method.lower()}",
        "summary": operation.help,
        "tags": [_tag(route)],
        "parameters": [_parameter(each, "path") for each in operation.parameters if each.name in in_path],
        "responses": _responses(operation, method),
    }
    if method in ("GET", "HEAD", "OPTIONS"):
        described["parameters"] += [_parameter(each, "query") for each in rest]
    elif rest:
        described["requestBody"] = _body(rest)
    if operation.writes:
        described["parameters"] += [_header(name, text) for name, text in _write_headers(operation)]
    if route.is_native and operation.name in LISTS:
        described["parameters"] += PORTION
    if route.is_native and not operation.writes and operation.name not in NOT_ANONYMISED:
        described["parameters"].append(ANONYMIZE)
    if operation.name == "events":
        described["parameters"].append(_header("Last-Event-ID", "Go on after this event"))
    return described


def _write_headers(operation: Operation) -> tuple[tuple[str, str], ...]:
    headers = WRITE_HEADERS if operation.takes_long else WRITE_HEADERS[:1]
    return (*headers, *VERSION_HEADERS) if operation.name in VERSIONED else headers


def _tag(route: Route) -> str:
    words = [segment for segment in route.segments if segment not in ("api", "v2")]
    return words[0] if words else "api"


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    return {
        "name": _snake(parameter.name), "in": place, "required": parameter.required or place == "path",
        "description": parameter.help, "schema": SCHEMAS[parameter.kind],
    }  # fmt: skip


def _header(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}


def _body(parameters: list[Parameter]) -> dict[str, Any]:
    required = [_snake(each.name) for each in parameters if each.required]
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {_snake(each.name): SCHEMAS[each.kind] | {"description": each.help} for each in parameters},
    }
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _responses(operation: Operation, method: str) -> dict[str, Any]:
    if operation.name in CHECKS:
        return {"200": {"description": "Yes"}, "503": {"description": "No"}, "404": {"description": "Not known"},
                "400": {"description": "No question"}, "401": {"description": PROBLEMS[401]},
                "429": {"description": PROBLEMS[429]}}  # fmt: skip
    found: dict[str, Any] = {"200": _success(operation, method)}
    if operation.takes_long:
        found["202"] = {
            "description": "It is under way: follow the recovery at Location",
            "headers": {"Location": {"schema": {"type": "string"}}},
        }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in WRITE_PROBLEMS if operation.writes else READ_PROBLEMS:
        found[str(status)] = {"description": PROBLEMS[status]}
        if status not in (401, 429) and method != "HEAD":
            found[str(status)]["content"] = problem
    return found


def _success(operation: Operation, method: str) -> dict[str, Any]:
    types = {"events": "text/event-stream", "api-page": "text/html"}
    schema: dict[str, Any] = {}
    if operation.writes:
        properties: dict[str, Any] = {"message": {"type": "string"}, "result": {}}
        schema = {"type": "object", "required": ["message", "result"], "properties": properties}
    if method == "HEAD":
        return {"description": operation.help}
    return {
        "description": operation.help,
        "content": {types.get(operation.name, "application/json"): {"schema": schema}},
    }


STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#1a1a1a;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}h3{margin-bottom:.2rem;font:600 1rem ui-monospace,monospace}
h3 b{display:inline-block;min-width:4.5rem}p{margin:.2rem 0}table{border-collapse:collapse;margin:.4rem 0 1rem}
td{padding:.1rem 1rem .1rem 0;vertical-align:top}code{font-family:ui-monospace,monospace}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}h2{border-color:#444}a{color:#8ab4f8}}"""


def page_of(document: Mapping[str, Any]) -> str:
    """The document as one HTML page."""
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if method not in ("head", "options"):
                sections.setdefault(described["tags"][0], []).append(_entry(method, path, described))
    body = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(entries)}" for tag, entries in sections.items())
    title = f"{document['info']['title']} {document['info']['version']}: API"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{html.escape(title)}</h1><p>{html.escape(document['info']['description'])}</p>"
        f'<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1). Errors are problem+json.</p>'
        f"{body}</body></html>"
    )


def _entry(method: str, path: str, described: Mapping[str, Any]) -> str:
    schema = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    needed = schema.get("required", [])
    rows = [
        (each["name"], each["in"], each["required"], each["description"])
        for each in described["parameters"]
        if each["in"] != "header"
    ] + [(name, "body", name in needed, each["description"]) for name, each in schema.get("properties", {}).items()]
    cells = "".join(
        f"<tr><td><code>{html.escape(name)}</code></td><td>{place}{'' if required else ', optional'}</td>"
        f"<td>{html.escape(text)}</td></tr>"
        for name, place, required, text in rows
    )
    table = f"<table>{cells}</table>" if cells else ""
    return f"<h3><b>{method.upper()}</b> {html.escape(path)}</h3><p>{html.escape(described['summary'])}</p>{table}"

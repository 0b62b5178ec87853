"""The reference page of the commands, made from the commands themselves so that it cannot drift from them.

``python -m orchestrator_raft.raftctl.reference FILE`` renews the generated part of that page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from orchestrator_raft.core.errors import InvalidInput
from orchestrator_raft.raftctl.main import cli

BEGIN, END = "<!-- begin: commands -->", "<!-- end: commands -->"
_SHARED = {"json", "yes", "help"}
"""Options that are described once, among the global ones."""


def page_with_commands(page: str) -> str:
    """The page with its generated part renewed; what people wrote around it stays."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InvalidInput(f"the page needs the two marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{_reference()}\n{END}{after}"


def _reference() -> str:
    lines = ["### Global options", "", *_options(cli, shared=True), ""]
    for path, command in _commands(cli, "raftctl"):
        lines += [f"### `{_usage(path, command)}`", "", _text(command), ""]
        options = list(_options(command, shared=False))
        lines += [*options, ""] if options else []
    return "\n".join(lines)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _usage(path: str, command: click.Command) -> str:
    words = [path]
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            name = parameter.metavar or (parameter.name or "").upper()
            words.append(name if parameter.required else f"[{name}]")
    required = [each for each in command.params if isinstance(each, click.Option) and each.required]
    return " ".join([*words, *(f"{option.opts[0]} {option.metavar or ''}".strip() for option in required)])


def _text(command: click.Command) -> str:
    return " ".join((command.help or "").split())


def _options(command: click.Command, *, shared: bool) -> Iterator[str]:
    shown = [each for each in command.params if isinstance(each, click.Option) and (shared or each.name not in _SHARED)]
    if not shown:
        return
    yield "| Option | Meaning |"
    yield "|---|---|"
    for option in shown:
        value = "" if option.is_flag else f" {option.metavar or 'TEXT'}"
        names = ", ".join(f"`{name}{value}`" for name in option.opts)
        yield f"| {names} | {(option.help or '').replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestrator_raft.raftctl.reference FILE (docs/raftctl.md)")
    target = Path(sys.argv[1])
    target.write_text(page_with_commands(target.read_text(encoding="utf-8")), encoding="utf-8")

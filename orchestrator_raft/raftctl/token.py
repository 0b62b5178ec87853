"""``raftctl access-token``: a token for a person or a program, where AuthenticationMethod is token."""

from __future__ import annotations

import click

from orchestrator_raft.operations import OPERATION_BY_NAME
from orchestrator_raft.raftctl.commands import call


@click.command("access-token")
@click.option("--owner", metavar="NAME", default="", help="Whose name the audit trail shows; by default the user's.")
@click.option("--link", is_flag=True, help="Print the part that a browser takes into use, within a minute.")
def access_token(owner: str, link: bool) -> None:
    """Make an access token and print it, for --token-file; it is shown only now.

    With --link it is not taken into use here: open URL-OF-A-NODE/web/access-token?publicToken=TEXT in a browser.
    """
    made = call(OPERATION_BY_NAME["access-token"], {"owner": owner} if owner else {})
    public = str(made.value["result"])
    if link:
        click.echo(public)
        return
    used = call(OPERATION_BY_NAME["use-access-token"], {"publicToken": public})
    click.echo(str(used.value["result"]))

"""``lakehouse policies``: what the keys of each role must be allowed at the store, and no more."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lakehouse.cli.output import Json, command


def policies(
    role: Annotated[
        str | None, typer.Argument(metavar="[ROLE]", help="writer, reader or discoverer; default: say what each is")
    ] = None,
    as_json: bool = Json,
) -> None:
    """Print the policy document, for MinIO or IAM, of a role's keys; starts nothing and asks no store."""
    from lakehouse.declaration import read_catalogue
    from lakehouse.roles import ROLES, policy
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        catalogue = read_catalogue(settings)
        if role is None:
            out.table(["role", "who that is"], [[entry.name, entry.about] for entry in ROLES.values()])
            out.result({"policies": {name: policy(name, settings, catalogue) for name in ROLES}})
            return
        made = policy(role, settings, catalogue)
        for line in json.dumps(made, indent=2).splitlines():
            out.line(line)
        out.result(made)

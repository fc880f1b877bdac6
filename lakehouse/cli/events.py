"""``lakehouse events``: new files are told of by the store, and taken from an inbox in place of a listing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import Json, Output, command, in_lake, require_declared
from lakehouse.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lakehouse.flows.files import Files
    from lakehouse.settings import Settings
    from lakehouse.table import Table

HOST = "127.0.0.1"
events = typer.Typer(
    help="New files are told of by the store: switch that on and off, see how it is, receive what is told.",
    no_args_is_help=True,
)
Tables = Annotated[
    list[str] | None, typer.Argument(callback=in_lake, help="layer.name of each; default: all that read files")
]


@events.command("enable")
def enable(tables: Tables = None, as_json: bool = Json) -> None:
    """Make the store tell of new files in the tables' folders, and start the receiver."""
    from lakehouse.events import setup
    from lakehouse.events.address import InboxAddress
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        folders = _folders(settings, tables)
        setup.enable(settings, folders, out.say)
        uris = [f"s3a://{bucket}/{folder}" for bucket, inside in folders.items() for folder in inside]
        for uri in uris:
            out.line(f"the store tells of new files in {uri}")
        out.line("tables take them from the inbox with the option cloudFiles.useNotifications: true")
        out.result({"folders": uris, "inbox": InboxAddress.of(settings).public})


@events.command("disable")
def disable(tables: Tables = None, as_json: bool = Json) -> None:
    """Make the store tell no more of the tables' folders; without TABLE the receiver ends, too. The inbox stays.

    A folder that another table reads by events, itself or one above it, is told of still.
    """
    from lakehouse.events import setup
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        folders = _folders(settings, tables)
        left = setup.disable(
            settings, folders, out.say, all_of_it=not tables, needed=_needed_by_others(settings, tables or [])
        )
        silent: list[str] = []
        told: list[str] = []
        for bucket, inside in folders.items():
            for folder in inside:
                still = any(folder.startswith(rule) for rule in left[bucket])
                (told if still else silent).append(f"s3a://{bucket}/{folder}")
        for uri in silent:
            out.line(f"the store does not tell of new files in {uri}")
        for uri in told:
            out.line(f"the store tells of new files in {uri} still: other tables take them from the inbox")
        out.result({"folders": silent, "still_told_of": told})


@events.command("status")
def status(tables: Tables = None, as_json: bool = Json) -> None:
    """Show rules, receiver, queue, inbox and the share of files that no event told of; starts nothing.

    The exit code is 1 when a folder has no rule, or the receiver of the embedded store does not answer.
    """
    from lakehouse.events import setup
    from lakehouse.settings import Settings
    from lakehouse.storage import find_store
    from lakehouse.storage.webhook import Webhook

    with command(as_json) as out:
        settings = Settings.load()
        folders = _folders(settings, tables)
        found = setup.status(settings, find_store(settings), folders)
        rows = [
            [f"s3a://{bucket}/{key}", "yes" if any(key.startswith(rule) for rule in found.rules[bucket]) else "no"]
            for bucket, keys in folders.items()
            for key in keys
        ]
        out.table(["folder", "told of"], rows)
        facts: dict[str, Any] = {"folders": [{"folder": name, "rule": rule == "yes"} for name, rule in rows]}
        if found.target is not None:
            facts["waiting_events"] = waiting = found.target.waiting()
        if isinstance(found.target, Webhook):
            received = found.received
            answers = ", ".join(f"{count:,} {name}" for name, count in sorted((received or {}).items()) if count)
            alive = f"answers; since it began: {answers or 'nothing'}" if received is not None else "does not answer"
            out.line(f"receiver {found.target.url} {alive}; {counted(waiting, 'event')} at the store")
            facts |= {"receiver": found.target.url, "received": received}
        elif found.target is not None:
            out.line(f"the store writes its events into the database itself; {counted(waiting, 'event')} wait there")
        facts["inbox"] = _show_inbox(out, settings)
        out.result(facts)
        well = all(rule == "yes" for _, rule in rows) and found.well
    if not well:
        raise typer.Exit(1)


@events.command("serve")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 9009,
    host: Annotated[
        str, typer.Option(help="where to listen; beside this machine only in a network of your own")
    ] = HOST,
    as_json: bool = Json,
) -> None:
    """Receive events until Ctrl-C: a webhook that acknowledges an event when it is on the disk."""
    import signal
    from types import FrameType

    from lakehouse.events.address import InboxAddress
    from lakehouse.events.places import open_inbox
    from lakehouse.events.receiver import Receiver
    from lakehouse.events.setup import token_of
    from lakehouse.settings import Settings

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with command(as_json, warn=False) as out:
        settings = Settings.load()
        token = token_of(settings).get_secret_value()
        address = InboxAddress.of(settings)
        receiver = Receiver(open_inbox(address, create=True), token, port, host=host)
        signal.signal(signal.SIGTERM, end)
        out.line(f"receiving events on http://{host}:{receiver.port}/ into {address.public}")
        out.result({"url": f"http://{host}:{receiver.port}/", "inbox": address.public})
        receiver.run()


def _show_inbox(out: Output, settings: Settings) -> dict[str, Any] | None:
    """Prints how the inbox is; None where there is none."""
    from lakehouse.errors import ConfigurationError
    from lakehouse.events.address import InboxAddress
    from lakehouse.events.places import opened

    address = InboxAddress.of(settings)
    if address.file is not None and not address.file.is_file():
        out.line(f"there is no inbox: {address.public}")
        return None
    try:
        with opened(address) as inbox:
            (count, newest, size), readers, last = inbox.size(), inbox.readers(), inbox.last_number()
    except ConfigurationError as error:
        out.line(f"{error.what}: {address.public}")
        return None
    at = f", newest {newest:%Y-%m-%d %H:%M:%SZ}" if newest else ""
    out.line(f"inbox {address.public}: {counted(count, 'event')}, {size / 1e6:,.1f} MB{at}")
    if readers:
        names = ["reader", "unread", "by events", "not told of", "loss", "last time", "listed"]
        rows = [
            [
                reader.name.rsplit(" ", 1)[0],
                last - reader.upto,
                reader.told_in_all,
                reader.lost_in_all,
                f"{reader.lost_in_all / max(reader.lost_in_all + reader.told_in_all, 1):.2%}",
                f"{reader.loss_rate:.2%}",
                f"{reader.listed_at:%Y-%m-%d %H:%M:%SZ}",
            ]
            for reader in readers
        ]
        out.table(names, rows)
    entries = [
        {
            "reader": reader.name,
            "unread_events": last - reader.upto,
            "files_by_events": reader.told_in_all,
            "files_not_told_of": reader.lost_in_all,
            "loss_rate_last_listing": reader.loss_rate,
            "listed_at": reader.listed_at.isoformat(),
            "listing_interval_seconds": reader.interval_seconds or None,
        }
        for reader in readers
    ]
    newest_at = newest.isoformat() if newest else None
    return {"path": address.public, "events": count, "bytes": size, "newest": newest_at, "readers": entries}


def _folders(settings: Settings, tables: list[str] | None) -> dict[str, list[str]]:
    """Of each bucket, the folders that these tables read."""
    from lakehouse.declaration import read_catalogue
    from lakehouse.errors import ConfigurationError

    chosen = [require_declared(settings, name) for name in tables] if tables else [*read_catalogue(settings)]
    for table in chosen if tables else []:
        if _files_of(table) is None:
            raise ConfigurationError(
                f"{table.name} does not read files",
                where="lakehouse events",
                state="nothing was changed",
                next_command="name tables with files, or none: then it is all of them",
            )
    return _folders_of(chosen)


def _needed_by_others(settings: Settings, tables: list[str]) -> dict[str, list[str]]:
    """Of each bucket, the folders that all other tables read by events."""
    from lakehouse.declaration import read_catalogue

    others = [table for table in read_catalogue(settings) if table.name not in tables]
    return _folders_of([table for table in others if (files := _files_of(table)) is not None and files.by_events])


def _folders_of(tables: Iterable[Table]) -> dict[str, list[str]]:
    from lakehouse.autoloader.options.paths import SourcePath

    found: dict[str, list[str]] = {}
    for table in tables:
        if (files := _files_of(table)) is not None:
            path = SourcePath.parse(files.path)
            folders = found.setdefault(path.bucket, [])
            if (root := path.file or path.root) not in folders:
                folders.append(root)
    return found


def _files_of(table: Table) -> Files | None:
    """How a table gets its files by ``cloudFiles``; None where it does not."""
    from lakehouse.flows.files import Files

    return table.flow if isinstance(table.flow, Files) and table.flow.source == "cloudFiles" else None

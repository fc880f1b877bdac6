"""``lakehouse alerts``: channels tried out, what is wrong now, and a look at all tables."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import Json, Output, command, in_lake, require_declared

alerts = typer.Typer(help="Tell people what goes wrong, once, until it is well again: docs/alerts.md.")


@alerts.command("test")
def test(as_json: bool = Json) -> None:
    """Send a test to every channel; exit code 1 when one does not take it, or none is named."""
    from lakehouse.alerts.trying import try_channels
    from lakehouse.errors import TerminalError
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        tried = try_channels(Lake.open(settings, say=out.say), settings)
        for one in tried:
            line = f"FAIL  {one.channel}: {one.problem}" if one.problem else f"PASS  {one.channel} took a test"
            out.line(line, style="red" if one.problem else "")
        failed = [one for one in tried if one.problem]
        out.result({"channels": [vars(one) for one in tried]})
        if failed:
            raise TerminalError(
                f"{len(failed)} of {len(tried)} channels did not take a test",
                where=failed[0].channel,
                state="the others have it",
                next_command="correct the variable; then: lakehouse alerts test",
            )


@alerts.command("show")
def show(as_json: bool = Json) -> None:
    """Show the channels, what is wrong now, and what no channel has taken yet."""
    from lakehouse.alerts.book import HomeBook, LakeBook, read
    from lakehouse.alerts.channels import Channels
    from lakehouse.alerts.trying import tested
    from lakehouse.declaration import read_catalogue
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        catalogue = read_catalogue(settings)
        channels = Channels.of(settings, catalogue)
        lake = Lake.open(settings, say=out.say)
        state, home = read(LakeBook(lake)), read(HomeBook(settings))
        when = {one.name: tested(lake, one, state) for one in channels.every()}
        owners: dict[str, list[str]] = {one.name: [] for one in channels.every()}
        for owner, some in channels.of_owners:
            for channel in some:
                owners[channel.name].append(owner)
        for one in channels.every():
            whose = ", ".join(owners[one.name]) or "whoever has no channel"
            out.line(f"{one.label}: for {whose}; took a test: {when[one.name] or 'never'}")
        for owner, some in channels.of_owners:
            if not some:
                out.line(f"{owner}: {catalogue.alerts.owners[owner]} is not set", style="yellow")
        if not channels.every():
            out.line("no channel is named: nobody is told. Set LAKEHOUSE_ALERTS, then: lakehouse alerts test")
        for known in (found := sorted([*state.open.values(), *home.open.values()], key=lambda one: one.since)):
            out.line(f"{known.alert.title}, since {known.since}, found {known.times:,} times: {known.alert.what}")
            if known.alert.command:
                out.line(f"      run: {known.alert.command}", style="yellow")
        if channels.every() and not found:
            out.line("nothing is wrong that was told")
        for message in (waiting := [*state.outbox, *home.outbox]):
            out.line(f"not delivered to {message.channel} ({message.tries} tries): {message.title}", style="red")
        out.result(
            {
                "channels": [
                    {"name": one.name, "scheme": one.scheme, "owners": owners[one.name], "tested": when[one.name]}
                    for one in channels.every()
                ],
                "open": [{**one.alert.as_dict(), "since": one.since, "times": one.times} for one in found],
                "undelivered": [{**one.as_dict(), "channel": one.channel, "tries": one.tries} for one in waiting],
            }
        )


@alerts.command("look")
def look(
    tables: Annotated[
        list[str] | None, typer.Argument(callback=in_lake, help="layer.name of each; default: all declared")
    ] = None,
    as_json: bool = Json,
) -> None:
    """Have the doctor look at all tables and tell what it finds: for a timer, beside runs that tell themselves."""
    from lakehouse.alerts.finding import of_doctor
    from lakehouse.alerts.hooks import alerted, tell_safely
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        for table in tables or ():
            require_declared(settings, table)
        with alerted(settings, out.warn) as watch:
            lake = watch.lake = Lake.open(settings, say=out.say)
        outcome = tell_safely(settings, lambda catalogue: of_doctor(lake, catalogue, tables or (), ()), lake)
        _say(out, outcome.problems)
        for one in outcome.begun:
            out.line(f"{one.title}: {one.what}", style="red")
        for one in outcome.recovered:
            out.line(f"RECOVERED {one.table or 'the lake'}: {one.kind}")
        out.line(f"{len(outcome.begun)} begun, {len(outcome.recovered)} recovered, {outcome.delivered} delivered")
        out.result({"begun": [one.as_dict() for one in outcome.begun], "delivered": outcome.delivered})
        out.result({"recovered": [one.as_dict() for one in outcome.recovered], "undelivered": outcome.waiting})


def _say(out: Output, problems: list[str]) -> None:
    for one in problems:
        out.warn(one)

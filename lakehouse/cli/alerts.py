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
        for trial in tried:
            line = f"FAIL  {trial.channel}: {trial.problem}" if trial.problem else f"PASS  {trial.channel} took a test"
            out.line(line, style="red" if trial.problem else "")
        failed = [trial for trial in tried if trial.problem]
        out.result({"channels": [vars(trial) for trial in tried]})
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
        when = {way.name: tested(lake, way, state) for way in channels.every()}
        owners: dict[str, list[str]] = {way.name: [] for way in channels.every()}
        for owner, targets in channels.of_owners:
            for channel in targets:
                owners[channel.name].append(owner)
        for way in channels.every():
            whose = ", ".join(owners[way.name]) or "whoever has no channel"
            out.line(f"{way.label}: for {whose}; took a test: {when[way.name] or 'never'}")
        for owner, targets in channels.of_owners:
            if not targets:
                out.line(f"{owner}: {catalogue.alerts.owners[owner]} is not set", style="yellow")
        if not channels.every():
            out.line("no channel is named: nobody is told. Set LAKEHOUSE_ALERTS, then: lakehouse alerts test")
        for known in (found := sorted([*state.open.values(), *home.open.values()], key=lambda fault: fault.since)):
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
                    {"name": way.name, "scheme": way.scheme, "owners": owners[way.name], "tested": when[way.name]}
                    for way in channels.every()
                ],
                "open": [{**fault.alert.as_dict(), "since": fault.since, "times": fault.times} for fault in found],
                "undelivered": [{**note.as_dict(), "channel": note.channel, "tries": note.tries} for note in waiting],
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
        for alert in outcome.begun:
            out.line(f"{alert.title}: {alert.what}", style="red")
        for alert in outcome.recovered:
            out.line(f"RECOVERED {alert.table or 'the lake'}: {alert.kind}")
        out.line(f"{len(outcome.begun)} begun, {len(outcome.recovered)} recovered, {outcome.delivered} delivered")
        out.result({"begun": [alert.as_dict() for alert in outcome.begun], "delivered": outcome.delivered})
        out.result({"recovered": [alert.as_dict() for alert in outcome.recovered], "undelivered": outcome.waiting})


def _say(out: Output, problems: list[str]) -> None:
    for problem in problems:
        out.warn(problem)

"""Whether the service that keeps a table up to date is alive, by its mark in the lake."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient

ABOUT, OF, ORDER = "services are alive", "table", 32

DEAD = Sign(
    "service_dead",
    Verdict.WARN,
    "a service kept the table up to date, and does not run any more though nobody stopped it",
    "it was killed, its machine ended, or it ended with an error: from now on only runs load the table",
    "lakehouse stream {table}   (where none shall run any more: with --forget-dead)",
)
SILENT = Sign(
    "service_silent",
    Verdict.WARN,
    "a service of the table gives no sign of life",
    "its stream hangs, its process is stopped, or it runs on a machine that is gone or cannot reach the store: end it "
    "there first. Signal USR1 has a process print where it hangs",
    "lakehouse stream {table}   (after its end; where none shall run any more: with --forget-dead)",
)
SIGNS = (DEAD, SILENT)


def examine(patient: Patient) -> Iterator[Seen]:
    """Judges a service by its process where that is on this machine, and by its last mark."""
    service, where = patient.service, patient.settings.checkpoint_uri(patient.name).rstrip("/") + ".service"
    if service is None:
        yield Seen(None, "no service keeps it up to date: it is loaded by runs", where)
        return
    sign, described = DEAD if service.dead else SILENT if service.silent else None, service.described()
    if sign is None:
        yield Seen(None, f"a service keeps it up to date: {described}", where, service.evidence())
        return
    ended = f", with: {service.mark.ended}" if service.mark.ended else ""
    what = f"its service {'is dead' if sign is DEAD else 'is silent'}: {described}{ended}"
    again = sign.command.replace("lakehouse stream {table}", service.command)
    yield Seen(sign, what, where, service.evidence(), command=again)

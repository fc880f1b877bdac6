"""``lakehouse report``: the lake on one page."""

from __future__ import annotations

import threading
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Json, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from lakehouse.lake import Lake


def report(
    output: Annotated[Path, typer.Option(help="the file to write")] = Path("report.html"),
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="show it at this port of this machine until Ctrl-C, live; 0 = a free one"),
    ] = None,
    as_json: bool = Json,
) -> None:
    """Write one HTML file with tables, files that wait, revenue, uncounted orders and plots; needs no Spark.

    With --port nothing is written: the page is made anew whenever a browser asks, which it does every ten seconds.
    """
    from lakehouse.errors import ConfigurationError
    from lakehouse.extras import needing
    from lakehouse.lake import Lake

    with command(as_json) as out:
        with needing("report", "lakehouse report"):
            from lakehouse.orders.report import report as look
        if port is not None:
            _serve(Lake.open(say=out.say), port, out.say)
            out.result({"stopped": True})
            return
        made = look(Lake.open(say=out.say))
        html = made.html()
        try:
            output.write_text(html, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"cannot write the report: {error.strerror}",
                where=str(output),
                state="nothing was written",
                next_command="name another file: lakehouse report --output FILE",
            ) from None
        for plot in made.plots:
            out.line(plot.sentence)
        out.line(f"wrote {output} ({len(html) / 1e3:,.0f} kB): open it in a browser")
        out.result({"file": str(output.absolute()), **made.as_dict()})


def _serve(lake: Lake, port: int, say: Callable[[str], None]) -> None:
    from deltalake.exceptions import DeltaError

    from lakehouse.errors import LakehouseError
    from lakehouse.orders.report import report as look
    from lakehouse.service.pages import HOST, Page, serve_until_interrupted

    turn = threading.Lock()  # what draws the plots is not made for several threads

    def page() -> Page:
        with turn:
            try:
                return Page(look(lake).html(live=True).encode(), "text/html; charset=utf-8")
            except (LakehouseError, DeltaError, OSError) as error:  # the next look may find it mended
                return Page(f"{error}\n".encode(), "text/plain; charset=utf-8", HTTPStatus.SERVICE_UNAVAILABLE)

    where = "lakehouse report --port"
    serve_until_interrupted({"/": page}, port, host=HOST, where=where, say=lambda address: say(f"report: {address}/"))

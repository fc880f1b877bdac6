"""``lakehouse report``: the lake on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakehouse.cli.output import Json, command


def report(
    output: Annotated[Path, typer.Option(help="the file to write")] = Path("report.html"), as_json: bool = Json
) -> None:
    """Write one HTML file with tables, uncounted orders and plots; needs no Spark."""
    from lakehouse.errors import ConfigurationError
    from lakehouse.extras import needing
    from lakehouse.lake import Lake

    with command(as_json) as out:
        with needing("report", "lakehouse report"):
            from lakehouse.orders.report import report as look
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

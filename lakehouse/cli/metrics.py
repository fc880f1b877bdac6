"""``lakehouse metrics``: the lake in Prometheus' text."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lakehouse.cli.output import Json, command
from lakehouse.extras import needing


def metrics(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="answer /metrics until Ctrl-C, each time anew; 0 = a free one")
    ] = None,
    host: Annotated[
        str, typer.Option(help="where to listen; beside this machine only in a network of your own")
    ] = "127.0.0.1",
    as_json: bool = Json,
) -> None:
    """Print what Prometheus asks: tables, files that wait, freshness, newest batches. Writes nothing, needs no Spark.

    The same names are on /metrics of lakehouse stream. With --port it is an exporter.
    """
    from lakehouse.declaration import read_catalogue
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.storage import find_store, open_store

    with command(as_json) as out:
        with needing("engine", "lakehouse metrics"):
            from lakehouse.service.families import as_json as families_as_json
            from lakehouse.service.lake_metrics import measure, text
        settings = Settings.load()
        catalogue = read_catalogue(settings)
        if port is not None:
            out.result({"stopped": True})
            _serve(settings, port, host, out.say)
            return
        endpoint = find_store(settings)
        found = [*measure(Lake(settings, endpoint, open_store(endpoint)), catalogue)]
        out.result({"metrics": families_as_json(found)})
        if not as_json:
            print(text(found).decode(), end="")


def _serve(settings: Any, port: int, host: str, say: Any) -> None:
    from lakehouse.service.families import CONTENT_TYPE
    from lakehouse.service.lake_metrics import scraped
    from lakehouse.service.pages import Page, serve_until_interrupted

    pages = {
        "/metrics": lambda: Page(scraped(settings), CONTENT_TYPE),
        "/health": lambda: Page(b"answers\n", "text/plain"),
    }
    where = "lakehouse metrics --port"
    serve_until_interrupted(pages, port, host=host, where=where, say=lambda address: say(f"metrics: {address}/metrics"))

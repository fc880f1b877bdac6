"""``./dev screenshots FOLDER``: pictures of the README's tour, of pages that are on, by a headless Chromium.

Before: ``./dev demo``, then ``./dev ui``. A page counts as shown when all of its words are on it and its text stays as
it is; what a page lacks, and each error of its console, is told, and the exit code is 1 then.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH, HEIGHT, WHOLE = 1600, 1200, 3600
_START_SECONDS, _PAGE_SECONDS, _LOOK_SECONDS = 30.0, 60.0, 1.0
_QUIETLY = (
    "--no-first-run",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""A browser that asks nobody but the pages."""
_TEXT = "document.body ? document.body.innerText : ''"
_CLICK = """(() => {{
  const found = [...document.querySelectorAll('button, a, [role=tab], [role=button]')]
    .find(element => element.innerText.trim() === {text});
  if (found) found.click();
  return Boolean(found);
}})()"""


@dataclass(frozen=True)
class Page:
    """A page of the tour.

    Attributes:
        name: Of its picture.
        path: Behind Dagster's address.
        words: Must be on it.
        click: What is clicked first, by its text.
        element: A selector that must find something.
        height: Of the picture, in pixels: pages of Dagster scroll by themselves.
    """

    name: str
    path: str
    words: tuple[str, ...]
    click: str = ""
    element: str = "body"
    height: int = HEIGHT


_ASSET, _JOBS = "/assets/bronze/orders_autoloader", "/locations/lakehouse/jobs"
PAGES = (
    Page("lineage", "/asset-groups", ("landing", "bronze", "silver", "gold", "maintenance")),
    Page("asset", _ASSET, ("exactly_once_receipt", "last_run_with_data"), height=WHOLE),
    Page("plots", _ASSET, ("rows_added",), click="Plots", element="canvas", height=WHOLE),
    Page("checks", f"{_ASSET}?view=checks", ("no_duplicate_orders", "every_file_loaded")),
    Page("lever", f"{_JOBS}/lever_put_sample_files/playground", ("apply", "Launch")),
    Page("sensor", "/locations/lakehouse/sensors/new_order_files", ("new_order_files",)),
    Page("windows", "/assets/silver/orders_windowed_aggregates", ("late_rows",), height=WHOLE),
    Page(
        "partitions",
        f"{_JOBS}/load_day_again_bronze__orders_autoloader/partitions",
        ("load_day_again_bronze__orders_autoloader",),
    ),
)


class Tab:
    """A page of the browser, spoken to in the DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._number, self._session = connection, 0, ""
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; events that come before it are looked at."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps({**message, **({"sessionId": self._session} if self._session else {})}))
        while True:
            answer = json.loads(self._connection.recv(timeout=_PAGE_SECONDS))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            if text := error_of(answer):
                self.errors.append(text)

    def value(self, expression: str) -> Any:
        """What JavaScript gives on the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def lacks(self, page: Page) -> list[str]:
        """Opens a page and waits until it is whole; what it still lacks in the end."""
        size = {"width": WIDTH, "height": page.height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=page.path)
        clicked, before, end = not page.click, None, time.monotonic() + _PAGE_SECONDS
        while True:
            text = str(self.value(_TEXT))
            clicked = clicked or bool(self.value(_CLICK.format(text=json.dumps(page.click))))
            missing = [word for word in page.words if word not in text]
            missing += [] if clicked else [f"a button {page.click}"]
            if not self.value(f"Boolean(document.querySelector({json.dumps(page.element)}))"):
                missing.append(page.element)
            if (not missing and text == before) or time.monotonic() > end:
                return missing
            before = text
            time.sleep(_LOOK_SECONDS)

    def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def error_of(event: dict[str, Any]) -> str:
    """The error of the console that an event tells of; empty for any other event."""
    told = event.get("params", {})
    match event.get("method"):
        case "Log.entryAdded" if told["entry"]["level"] == "error":
            return f"{told['entry']['text']} {told['entry'].get('url', '')}".strip()
        case "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            return str(details.get("exception", {}).get("description") or details["text"])
        case "Runtime.consoleAPICalled" if told["type"] == "error":
            return " ".join(str(part.get("value", part.get("description", ""))) for part in told["args"])
    return ""


@contextmanager
def browser(command: str) -> Iterator[ClientConnection]:
    """A Chromium with a profile of its own; it is ended afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", *_QUIETLY]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root with a sandbox
        process = subprocess.Popen([command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port, path = _address(Path(profile) / "DevToolsActivePort", process)
            with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as connection:
                yield connection
        finally:
            process.terminate()
            process.wait()


def _address(file: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        time.sleep(0.1)
    sys.exit(f"error: {process.args} did not start\n  next   see what it says: chromium --headless=new about:blank")


def main() -> None:
    """Takes the pictures, and says what is not as it should be."""
    parser = argparse.ArgumentParser(prog="./dev screenshots", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go; it is made when it is not there")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="of the pages that are on")
    parser.add_argument("--browser", help="command of a Chromium; default the first of " + ", ".join(CHROMIUM))
    chosen = parser.parse_args()
    url = chosen.url.rstrip("/")
    command = chosen.browser or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if command is None:
        sys.exit(
            "error: there is no Chromium\n  next   install one, or name it: ./dev screenshots FOLDER --browser PATH"
        )
    try:
        urlopen(f"{url}/server_info", timeout=10).close()
    except (URLError, OSError) as error:
        sys.exit(f"error: Dagster's pages are not on at {url}: {error}\n  next   ./dev demo, then ./dev ui")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    wrong = []
    with browser(command) as connection:
        for number, page in enumerate(PAGES, 1):
            tab = Tab(connection)
            missing = tab.lacks(Page(**{**vars(page), "path": f"{url}{page.path}"}))
            picture = chosen.folder / f"{number}-{page.name}.png"
            picture.write_bytes(tab.picture())
            print(picture)
            wrong += [f"{page.path} lacks {what}" for what in missing]
            wrong += [f"{page.path}: {text}" for text in dict.fromkeys(tab.errors)]
    if wrong:
        sys.exit("\n".join(f"error: {line}" for line in wrong))


if __name__ == "__main__":
    main()

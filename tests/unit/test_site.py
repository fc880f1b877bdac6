"""The documentation site: all pages are on it, all links lead somewhere, and nothing is loaded from elsewhere."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs/build_site.py"
HTML = ROOT / ".site/html"
ATTRIBUTE = re.compile(r'\b(?:href|src)="([^"]+)"')


@pytest.fixture(scope="module")
def build_site():
    spec = importlib.util.spec_from_file_location("build_site", SCRIPT)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def site():
    """The text of each page of the site, by its path there."""
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.relative_to(HTML): path.read_text(encoding="utf-8") for path in HTML.rglob("*.html")}


def leaves(entries):
    """The pages of the navigation."""
    targets = [target for entry in entries for target in entry.values()]
    return [leaf for target in targets for leaf in ([target] if isinstance(target, str) else leaves(target))]


def test_every_page_of_the_project_is_in_the_navigation_once(build_site):
    told = leaves(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])
    assert sorted(told) == sorted([*map(str, build_site.pages()), "reference.md"])


def test_every_page_is_built_and_every_link_and_heading_on_it_is_there(site, build_site):
    assert len(site) >= len(build_site.pages()) > 25
    headings = {HTML / path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in site.items()}
    looked_at, lost = 0, []
    for path, text in site.items():
        for target in ATTRIBUTE.findall(text):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or path.name == "404.html":  # which has the site's root in its links
                continue
            looked_at += 1
            to = ((HTML / path).parent / unquote(parts.path)).resolve() if parts.path else HTML / path
            to = to / "index.html" if to.is_dir() else to
            ids = headings.get(to)
            if not to.exists() or (parts.fragment and ids is not None and unquote(parts.fragment) not in ids):
                lost.append(f"{path}: {target}")
    assert looked_at > 1000
    assert lost == []


def test_no_page_loads_anything_from_elsewhere(site):
    elsewhere = r"(?:https?:)?//"
    loads = re.compile(
        rf'<(?:script|img|iframe)[^>]*\bsrc="{elsewhere}|<link[^>]*rel="stylesheet"[^>]*href="{elsewhere}'
    )
    assert [str(path) for path, text in site.items() if loads.search(text)] == []


def test_the_reference_has_what_programs_import_with_its_words(site, build_site):
    text = site[Path("reference.html")]
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    assert [name for name in build_site.PUBLIC if name not in ids] == []
    assert {"lakehouse.lake.Lake.delta", "lakehouse.dagster.build.definitions", "lakehouse.sql_query.sql"} <= ids
    assert "Reads the environment;" in text, "a docstring of Settings.load"


def test_the_search_finds_headings_of_the_pages(site):
    told = json.dumps(json.loads((HTML / "search.json").read_text(encoding="utf-8")))
    assert [words for words in ("Exactly once", "ops.batches", "get_spark") if words.lower() not in told.lower()] == []


def test_the_command_builds_the_site():
    assert "docs) prepare docs && exec .venv/bin/python docs/build_site.py" in (ROOT / "dev").read_text()

"""Builds the documentation site: ``./dev docs`` puts it into ``.site/html``.

The project's pages are copied with what they link to, each at its own place, so that their links hold on the site as
they do in the clone. The reference of the API is made of docstrings.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / ".site/pages"
PAGES_AT = ("*.md", "docs/*.md", "docker/*.md")
PUBLIC = (
    *("lakehouse.engine.session.get_spark", "lakehouse.file_reading", "lakehouse.sql_query", "lakehouse.lake"),
    *("lakehouse.settings", "lakehouse.table", "lakehouse.pipeline", "lakehouse.dagster.build"),
    *("lakehouse.dagster.component", "lakehouse.dagster.resources", "lakehouse.errors"),
)
"""What programs import."""
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def pages() -> list[Path]:
    """The project's pages, by their paths in it."""
    return sorted(path.relative_to(ROOT) for pattern in PAGES_AT for path in ROOT.glob(pattern))


def stage() -> None:
    """Copies the pages and what they link to, and writes the reference."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for page in pages():
        linked = [Path(target) for target in _LINK.findall((ROOT / page).read_text(encoding="utf-8"))]
        beside = [(ROOT / page.parent / target).resolve().relative_to(ROOT) for target in linked]
        for path in [page, *(found for found in beside if (ROOT / found).is_file())]:
            (PAGES / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, PAGES / path)
    reference = ["# Reference of the API", "What programs import; commands are in the [README](README.md#commands)."]
    reference += [f"## {name}\n\n::: {name}" for name in PUBLIC]
    (PAGES / "reference.md").write_text("\n\n".join(reference) + "\n", encoding="utf-8")


if __name__ == "__main__":
    stage()
    tool = Path(sys.executable).with_name("zensical")
    sys.exit(subprocess.run([tool, "build", "--clean", "--strict"], cwd=ROOT, check=False).returncode)

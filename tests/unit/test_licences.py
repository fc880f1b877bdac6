"""docs/licences.md lists what is pinned, and nothing that is not open; docs/sbom.cdx.json has all that is pinned."""

import json
import re
from email.message import Message

import pytest
from licences import BILL, JARS, OPEN, PAGE, ROOT, Package, bill, licence_of, pinned

from lakehouse.storage.minio_binary import MINIO_VERSION

LISTED = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)[1:]
LOCK = pinned((ROOT / "requirements.lock").read_text())


def said(*, classifiers=(), **fields):
    made = Message()
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    for classifier in classifiers:
        made["Classifier"] = f"License :: OSI Approved :: {classifier}"
    return made


def test_the_page_lists_every_pinned_package_with_its_version_and_no_other():
    assert {name: version for name, version, _ in LISTED} == LOCK
    assert len(LISTED) == len(LOCK) > 100


def test_every_line_that_pins_is_read():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert len(LOCK) == sum("==" in line and not line.startswith(("#", " ")) for line in lines)


def test_every_licence_on_the_page_is_open():
    assert [row for row in LISTED if not Package(*row).is_open] == []


def test_the_bill_of_materials_has_every_package_every_jar_and_the_store():
    assert BILL.read_text() == bill([Package(*row) for row in LISTED]), "python tests/licences.py writes it"
    parts = json.loads(BILL.read_text())["components"]
    assert len({part["bom-ref"] for part in parts}) == len(parts)
    named = {part["name"]: part["version"] for part in parts}
    assert named.items() >= {**LOCK, "github.com/minio/minio": MINIO_VERSION}.items()
    hashes = {
        part["hashes"][0]["content"]: f"{part['name']}-{part['version']}.jar" for part in parts if "hashes" in part
    }
    assert [f"{sha256} {jar}" for sha256, jar in hashes.items()] == JARS.read_text().splitlines()
    assert len(parts) == len(LOCK) + len(hashes) + 2, "the store, and Go that builds it"


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (said(License_Expression="MIT OR Apache-2.0", License="other"), "MIT OR Apache-2.0"),
        (said(License="BSD 3-Clause License"), "BSD-3-Clause"),
        (said(License="MPL-2.0 AND MIT"), "MPL-2.0 AND MIT"),
        (said(License="Copyright of somebody\n" * 40, classifiers=["BSD License"]), "BSD"),
        (said(License="Dual License", classifiers=["Apache Software License"]), "Apache-2.0"),
        (said(License="Proprietary"), ""),
        (said(), ""),
    ],
)
def test_a_licence_is_told_from_what_a_package_says_of_itself(metadata, licence):
    assert licence_of("some-package", metadata) == licence


@pytest.mark.parametrize(
    ("licence", "is_open"),
    [
        *((open_licence, True) for open_licence in sorted(OPEN)),
        ("MIT OR LicenseRef-Closed", True),
        ("MIT AND LicenseRef-Closed", False),
        ("(MIT OR BUSL-1.1) AND Apache-2.0", True),
        ("BUSL-1.1", False),
        ("", False),
    ],
)
def test_a_choice_needs_one_open_licence_and_a_sum_needs_each(licence, is_open):
    assert Package("some-package", "1", licence).is_open is is_open

"""Which certificates clients in Rust read: the machine's bundle alone, unless somebody chose others."""

import os
import ssl
import subprocess
import sys

import pytest

from lakehouse.storage.certificates import bundle_that_is_enough

MACHINES, OTHER = ("bundle.pem", "certs"), ("own.pem", "own")


@pytest.mark.parametrize(
    ("bundle", "folder", "enough"),
    [
        (MACHINES[0], MACHINES[1], True),
        (MACHINES[0], None, True),
        ("link.pem", MACHINES[1], True),
        (OTHER[0], MACHINES[1], False),
        (MACHINES[0], OTHER[1], False),
        (OTHER[0], None, False),
        (None, MACHINES[1], False),
    ],
)
def test_only_the_machines_own_bundle_makes_its_folder_needless(tmp_path, bundle, folder, enough):
    for name in (MACHINES[0], OTHER[0]):
        (tmp_path / name).write_text(name)
    (tmp_path / "link.pem").symlink_to(tmp_path / MACHINES[0])
    for name in (MACHINES[1], OTHER[1]):
        (tmp_path / name).mkdir()
    cafile, capath = (None if name is None else str(tmp_path / name) for name in (bundle, folder))
    own = [str(tmp_path / name) for name in MACHINES]
    known = ssl.DefaultVerifyPaths(cafile, capath, "SSL_CERT_FILE", own[0], "SSL_CERT_DIR", own[1])
    assert bundle_that_is_enough(known) == (cafile if enough else None)


def test_a_file_that_was_chosen_is_left_alone(tmp_path):
    (tmp_path / "own.pem").write_text("")
    says = (
        "import os; from lakehouse.storage.certificates import read_bundle_alone; read_bundle_alone(); "
        "print(os.environ.get('SSL_CERT_FILE'), os.environ.get('SSL_CERT_DIR'))"
    )
    chosen = {"SSL_CERT_FILE": str(tmp_path / "own.pem"), "SSL_CERT_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", says], env=os.environ | chosen, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [chosen["SSL_CERT_FILE"], chosen["SSL_CERT_DIR"]]

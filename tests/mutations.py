"""Ten changes of the library that each break a promise, and the tests that notice: ``./dev test`` can fail.

``python tests/mutations.py [--only NAME] [--list]`` makes a copy of the tree for each of them, changes one text in the
copy and runs its tests there, as they are without ``--soak``. The tree itself is never touched. A change that no test
notices makes the exit code 1, and so does one that keeps the tests from running.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
PROBE = "import lakehouse; print(lakehouse.__file__)"
BROKEN = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "Failed: Timeout")
"""Errors of code that does not run at all, or on a slow machine: tests that fail by them prove nothing."""


@dataclass(frozen=True)
class Mutation:
    """One small change of the library.

    Attributes:
        name: The promise that it breaks.
        file: The file that is changed.
        old: A text that the file has exactly once.
        new: What stands there in its place.
        harm: What a user would suffer.
        tests: Files or node ids of pytest, the cheapest first; the first that fails is enough.
    """

    name: str
    file: str
    old: str
    new: str
    harm: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "journal",
        "lakehouse/autoloader/files/journal.py",
        old="data, if_absent=True)\n            except ObjectExists:",
        new="data)\n            except ObjectExists:",
        harm="Of two runs that find files at the same moment one writes over the other's, which are never loaded.",
        tests=(
            "tests/unit/autoloader/test_discovery.py"
            "::test_of_two_who_number_files_at_the_same_moment_one_wins_and_the_other_takes_the_next_numbers",
        ),
    ),
    Mutation(
        "transaction",
        "lakehouse/streams/transaction.py",
        old='{"txnAppId": query,',
        new='{"txnAppId": uuid.uuid4().hex,',
        harm="A batch that is repeated after a kill is written a second time.",
        tests=(
            "tests/spark/test_orders.py"
            "::test_a_batch_that_is_done_again_is_left_out_and_a_table_without_its_checkpoint_is_refused",
        ),
    ),
    Mutation(
        "late",
        "lakehouse/streams/set_aside.py",
        old=".where(end <= limit)",
        new=".where(end < limit)",
        harm="An order whose window ends at the watermark itself is dropped by Spark, and kept nowhere.",
        tests=(
            "tests/spark/test_late.py::test_rows_that_are_not_counted_are_kept_with_reason_and_place_and_late_ones_are_replayed_once",
        ),
    ),
    Mutation(
        "rescue",
        "lakehouse/autoloader/formats/json_rows.py",
        old="if converted is BAD or converters.partial or converters.incomplete:",
        new="if converters.partial or converters.incomplete:",
        harm="A value that is not of its column's type is NULL in the table, and what it was is lost.",
        tests=("tests/unit/autoloader/test_json.py::test_a_wrong_type_is_corrupt_or_rescued",),
    ),
    Mutation(
        "lease",
        "lakehouse/storage/leases.py",
        old="if_absent=e_tag is None, if_match=e_tag",
        new="if_absent=e_tag is None",
        harm="Two processes that take over a dead one's lease both write to the table.",
        tests=(
            "tests/store/test_lease_takeover.py::test_a_silent_holder_elsewhere_is_replaced_after_a_whole_ttl_of_our_own_clock",
            "tests/store/test_lease_takeover.py::test_of_many_who_take_over_one_wins_each_round",
        ),
    ),
    Mutation(
        "split",
        "lakehouse/autoloader/reading/fetch.py",
        old='found = data.find(b"\\n", end - first - 1)',
        new='found = data.find(b"\\n", end - first)',
        harm="A line that begins where a large file was cut is loaded by both parts, twice.",
        tests=("tests/store/test_bad_input_edges.py::test_wherever_a_file_is_cut_each_line_is_in_one_part",),
    ),
    Mutation(
        "schema",
        "lakehouse/autoloader/schema/versions.py",
        old='f"{self._folder}{version.version}", body, if_absent=True)',
        new='f"{self._folder}{version.version}", body)',
        harm="Of two runs that learn columns at the same moment one takes the other's out of a version that is in use.",
        tests=(
            "tests/unit/autoloader/test_evolve.py::test_a_version_of_the_schema_stays_as_it_was_written_first",
            "tests/unit/autoloader/test_evolve.py::test_of_two_who_learn_columns_at_the_same_moment_neither_loses_one",
        ),
    ),
    Mutation(
        "quarantine",
        "lakehouse/autoloader/stream.py",
        old="durable.finish(replace(receipt, batch_id=batch) for receipt in receipts)",
        new="durable.finish(replace(receipt, batch_id=batch) for receipt in receipts if receipt.rows)",
        harm="A file that cannot be read is in no list: nobody learns that its rows are missing.",
        tests=(
            "tests/store/test_bad_input_edges.py"
            "::test_a_large_packed_file_under_a_plain_name_gives_no_row_from_any_of_its_parts",
            "tests/store/test_bad_input.py::test_a_damaged_file_goes_to_quarantine_with_its_reason_and_gives_no_row",
        ),
    ),
    Mutation(
        "replay",
        "lakehouse/streams/replacing.py",
        old="if file.replaces and file.stream == stream:",
        new="if file.replaces and overwrites and file.stream == stream:",
        harm="The rows of a file that is loaded again stay beside the new ones.",
        tests=(
            "tests/unit/autoloader/test_backlog.py"
            "::test_the_entries_whose_rows_go_are_those_of_a_replay_and_where_that_is_asked_for_older_versions",
            "tests/store/test_local_replacing.py::test_a_replay_takes_out_the_rows_of_the_file_and_no_others",
        ),
    ),
    Mutation(
        "checkpoint",
        "lakehouse/checkpoints/agreement.py",
        old="(written is None or written < finished)",
        new="(written is None or written < finished - 1)",
        harm="A table that was restored to the version before its last is written on, without the rows that it lost.",
        tests=("tests/store/test_checkpoints.py::test_a_table_and_a_checkpoint_of_another_day_are_refused",),
    ),
)


@contextmanager
def mutated(mutation):
    """A folder with a copy of the tree, tracked files and new ones, in which the mutation is done."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=TREE, capture_output=True, text=True, check=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix=f"mutation-{mutation.name}-") as made:
        copy = Path(made).resolve() / "tree"
        for name in names:
            if name and (TREE / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TREE / name, copy / name)
        text = (copy / mutation.file).read_text()
        if text.count(mutation.old) != 1:
            raise SystemExit(f"{mutation.name}: {mutation.file} has its old text {text.count(mutation.old)} times")
        (copy / mutation.file).write_text(text.replace(mutation.old, mutation.new))
        yield copy


def environment_of(copy):
    """Variables with which every Python process, Spark's workers too, imports the copy and not the installed tree."""
    path = [str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "1000"}  # reasons are not cut
    elsewhere = copy.parent
    probe = [sys.executable, "-c", PROBE]
    said = subprocess.run(probe, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(said.strip()).is_relative_to(copy), f"not the copy would be tested, but {said}"
    return environment


def judged(code, output):
    """``caught``, ``MISSED`` or ``ERROR``, and the test that failed or the reason."""
    if code == 0:
        return "MISSED", "every test passed"
    failed = re.search(r"^FAILED (.+?)(?: - (.*))?$", output, re.MULTILINE)
    if code != 1 or failed is None:
        why = re.search(r"^(?:E  |ERROR).*", output, re.MULTILINE)
        return "ERROR", f"pytest ended with {code}: {why[0] if why else output[-300:]}"
    test, why = failed[1], failed[2] or ""
    return ("ERROR", f"{test}: {why}") if why.startswith(BROKEN) else ("caught", test)


def tried(mutation, *, aloud):
    """The verdict on one mutation, what it says, and the seconds of its tests."""
    with mutated(mutation) as copy:
        environment = environment_of(copy)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        started = time.monotonic()
        for test in mutation.tests:  # one by one: together the dearest would come first
            where = {"cwd": copy, "env": environment}
            done = subprocess.run([*command, test], **where, capture_output=True, text=True, check=False)
            if aloud:
                print(done.stdout + done.stderr)
            if done.returncode:
                break
        seconds = time.monotonic() - started
    return *judged(done.returncode, done.stdout), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="NAME", choices=[mutation.name for mutation in MUTATIONS], help="this one alone"
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--verbose", action="store_true", help="print what pytest says, too")
    asked = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if asked.only in (None, mutation.name)]
    if asked.list:
        for mutation in chosen:
            print(f"{mutation.name:12} {mutation.file}\n    {mutation.harm}", *mutation.tests, sep="\n    ")
        return 0
    caught = 0
    for mutation in chosen:
        verdict, said, seconds = tried(mutation, aloud=asked.verbose)
        print(f"{verdict:7} {mutation.name:12} {said}  {seconds:.1f} s", flush=True)
        caught += verdict == "caught"
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())

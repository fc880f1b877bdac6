"""Keys that are canaries are looked for wherever a run leaves something, without Spark."""

import json
import logging
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import COMMAND, lakehouse_here
from declared import with_declaration
from pyarrow import BufferReader
from store.local_world import TABLE, LocalWorld
from store.role_keys import Keys
from storm_proxy import storm_proxy

CANARY = "canary"
CHECKS = [{"not_null": "id"}, {"range": {"column": "amount", "min": 0, "on_failure": "block"}}]


@pytest.fixture
def writer(lake, tmp_path):
    """A table with a check that fails, files of which some are broken, and a writer whose keys are canaries."""
    world = LocalWorld(lake, tmp_path)
    options = {"cloudFiles.maxFilesPerTrigger": 1, "badRecordsPath": f"{lake.settings.lake_uri}/bad"}
    flow = {"path": "{landing}/things/", "engine": "local", "schema": "id BIGINT, amount DOUBLE", "options": options}
    text = json.dumps({"tables": {TABLE: {"files": flow, "checks": CHECKS}}})
    world.lake = with_declaration(lake, tmp_path, text)
    world.put("0.json", [{"id": 1, "amount": 2.5}])
    world.put("1.json", '{"id": 2, "amount": -1.0}\n{"id": \n')
    world.put("2.json.gz", b"not gzip at all")
    with Keys(world, tmp_path) as keys:
        yield world, keys.of("writer")


@pytest.fixture
def say(capfd):
    """Runs a command with all its messages in this process; gives its exit code, and what it and its readers say."""
    log = logging.getLogger("lakehouse")
    level, handlers = log.level, [*log.handlers]

    def run(environment, *arguments, **variables):
        done = lakehouse_here(environment, "-vv", *arguments, **variables)
        return done.returncode, done.stdout + done.stderr + "".join(capfd.readouterr())

    yield run
    log.setLevel(level)
    log.handlers[:] = handlers


def watched(environment, *arguments):
    """What a command says, and the command lines of all processes meanwhile."""
    lines = set()
    running = subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while True:
        lines |= command_lines()
        try:
            said, _ = running.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        return running.returncode, said, lines


def command_lines():
    found = set()
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(place.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it ended
            continue
    return found


def texts_of_bucket(world):
    """Every object of the lake as text; Parquet, which is packed, by its rows and what else is in it."""
    store, bucket = world.plain.store, world.lake.settings.bucket
    for info in store.list(bucket):
        data = store.read(bucket, info.key)
        yield info.key, data.decode("latin-1")
        if info.key.endswith(".parquet"):
            table = pq.read_table(BufferReader(data))
            yield info.key, f"{table.to_pylist()} {table.schema.metadata}"


def texts_of(folder):
    return {str(path): path.read_text("latin-1") for path in folder.rglob("*") if path.is_file()}


def leaks(texts):
    """Names of what has a canary."""
    return sorted({name for name, text in texts if CANARY in text})


def test_the_search_sees_what_is_packed_in_parquet_and_what_is_not(lake, tmp_path):
    world = LocalWorld(lake, tmp_path)
    world.put("0.json", [{"id": 1, "note": "a canary in a row"}])
    world.load()
    assert {key.rsplit(".", 1)[1] for key in leaks(texts_of_bucket(world))} == {"parquet", "json"}


def test_no_key_is_in_what_a_run_says_leaves_or_is_started_with(writer, say):
    world, made = writer
    code, said, lines = watched(made.environment, "-vv", "ingest", TABLE)
    assert (code, "range" in said, "lakehouse.lake" in said) == (1, True, True), said
    assert any("ingest" in line and TABLE in line for line in lines)
    page = made.lake.settings.home / "report.html"
    told = [
        say(made.environment, *words)
        for words in (["check", "--json"], ["doctor", "--all"], ["files"], ["report", "--output", str(page)])
    ]
    assert [code for code, _ in told] == [1, 0, 0, 0]
    assert "lakehouse.lake: lake s3a://" in told[0][1]
    found = dict(texts_of_bucket(world))
    kinds = ("/_delta_log/", "/_checkpoints/", "/receipts/", "/_checks/", "/segments/", "/bad/", ".zstd.parquet")
    assert [kind for kind in kinds if not any(kind in key for key in found)] == []
    texts = [("ingest", said), *((line, line) for line in lines), *texts_of_bucket(world)]
    texts += [("told", text) for _, text in told]
    texts += texts_of(made.lake.settings.home).items()
    assert leaks(texts) == []


@pytest.mark.parametrize("fault", ["denied", "cut"])
def test_no_key_is_in_what_is_said_of_a_store_that_fails(writer, say, fault):
    world, made = writer
    with storm_proxy(world.lake.endpoint.url) as proxy:
        proxy.strike(rb"(GET|PUT) \S+things", fault)
        code, said = say(made.environment, "ingest", TABLE, LAKEHOUSE_S3_ENDPOINT=proxy.url)
        assert proxy.met
    assert code == 1
    assert leaks([("said", said), *texts_of_bucket(world)]) == []


@pytest.mark.parametrize(("command", "wrong"), [("ingest", "SECRET"), ("doctor", "ACCESS")])
def test_no_key_is_in_what_is_said_of_wrong_keys(writer, say, command, wrong):
    code, said = say(writer[1].environment, command, **{f"LAKEHOUSE_S3_{wrong}_KEY": "canary-wrong-key"})
    assert code == 1
    assert leaks([("said", said)]) == []

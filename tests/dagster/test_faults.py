"""Each fault turns the one check red that names it, with evidence, cure and one alert; a lever turns it green again."""

import json
import uuid
from contextlib import ExitStack
from functools import cache
from itertools import count

import dagster as dg
import pytest
from dagster_instances import instance_in
from dagster_rooms import NoSession, command_exists
from declared import with_declaration

from lakehouse.dagster import LakeResource, definitions
from lakehouse.dagster.alerts import SENSOR
from lakehouse.lake import Lake
from lakehouse.settings import Settings

BRONZE, SILVER, GOLD = "bronze.orders", "silver.orders", "gold.by_day"
DECLARED = """
tables:
  bronze.orders:
    files:
      path: "{landing}/orders/"
      format: json
      hints: {order_id: STRING, day: STRING, amount: DOUBLE}
    checks:
      - unique: order_id
        name: no_duplicate_orders
      - no_invalid_rows: {}
        name: no_corrupt_records
      - rescue_rate
      - schema: {}
        name: schema_contract
      - schema_drift
      - fresh_within: 6 hours
  silver.orders:
    latest: {of: bronze.orders, key: order_id}
    checks: [matches: {}, keyed: {}]
  gold.by_day:
    rollup: {of: silver.orders, group: {day: day}, aggregates: {orders: count(*), revenue: sum(amount)}}
    checks: [matches: {}]
"""
ROWS = 200
"""A broken line among so many is below the share that may be rescued."""


def order(number, **more):
    return {"order_id": f"o{number}", "day": f"2026-01-{number % 3 + 1:02d}", "amount": 1.5, **more}


def lines(*orders):
    return "".join(json.dumps(made) + "\n" for made in orders)


class Told:
    """The channel that is a file: what it got since it was asked last."""

    def __init__(self, file):
        self.file = file

    def __call__(self):
        alerts = [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []
        self.file.unlink(missing_ok=True)
        return alerts


class Scene:
    """A lake with three tables that agree, its definitions and a Dagster instance."""

    def __init__(self, lake, folder, instance):
        self.lake, self.instance = with_declaration(lake, folder, DECLARED), instance
        self.told = Told(folder / "told.jsonl")
        names = ("home", "declaration", "user", "bucket", "landing_prefix")
        resource = LakeResource(**{name: str(getattr(self.lake.settings, name)) for name in names})
        made = definitions(lake=resource)
        self.sensor = made.resolve_sensor_def(SENSOR)
        self.resource = resource
        self.made = dg.Definitions(
            assets=made.assets,
            asset_checks=made.asset_checks,
            jobs=made.jobs,
            resources={"lake": resource, "spark": NoSession(lake=resource)},
        )
        self.numbers, self.files = count(), count(1)
        self.send(*(self.order() for _ in range(ROWS)))
        assert self.ingest() == {}
        self.pull("schema_contract")
        assert self.told() == []

    def order(self, **more):
        """The next order: no other has its number."""
        return order(next(self.numbers), **more)

    def send(self, *orders, broken=""):
        """A file of these orders, which no other replaces; gives its name."""
        name = f"{next(self.files)}.json"
        self.put(name, lines(*orders) + broken)
        return name

    def put(self, name, text):
        settings = self.lake.settings
        self.lake.store.write(settings.landing_bucket, f"{settings.landing_prefix}orders/{name}", text.encode())

    def ingest(self):
        """Runs the job as the sensor does; the failed checks with what their pages show, or the failed step's error."""
        done = self.made.resolve_job_def("ingest").execute_in_process(instance=self.instance, raise_on_error=False)
        if not done.success:
            [ended] = [event for event in done.all_events if event.event_type == dg.DagsterEventType.RUN_FAILURE]
            context = dg.build_run_status_sensor_context(SENSOR, ended, self.instance, done.dagster_run)
            self.sensor(context.for_run_failure(), lake=self.resource)
        failed = {
            found.check_name: dict(found.metadata) for found in done.get_asset_check_evaluations() if not found.passed
        }
        for event in done.all_events:
            error = event.step_failure_data.error if event.is_step_failure else None
            if error is not None and error.cls_name != "DagsterAssetCheckFailedError":
                failed[event.step_key] = (error.cause or error).message
        return failed

    def pull(self, lever, **form):
        """Dry first: what is only asked changes nothing; then it is done."""
        before = {table: self.lake.version(table) for table in (BRONZE, SILVER, GOLD)}
        job = self.made.resolve_job_def(f"lever_{lever}")
        for apply in (False, True):
            config = {"ops": {lever: {"config": {"apply": apply, **form}}}}
            done = job.execute_in_process(instance=self.instance, run_config=config)
            [output] = [event.step_output_data for event in done.all_events if event.is_successful_output]
            shown = {name: value.value for name, value in output.metadata.items()}
            assert shown["applied"] == apply
            command_exists(shown["command"])
            assert apply or before == {table: self.lake.version(table) for table in before}
        return shown

    def rows(self, table):
        return self.lake.describe(table).rows

    def make_old(self, seconds):
        """Commits of the table have times of an earlier day; all of them, before Delta writes a checkpoint of them."""
        bucket, prefix = self.lake.settings.bucket, f"{self.lake.settings.user}/bronze/orders/_delta_log/"
        for info in [*self.lake.store.list(bucket, prefix)]:
            actions = [json.loads(line) for line in self.lake.store.read(bucket, info.key).splitlines()]
            for action in actions:
                if "add" in action:
                    action["add"]["modificationTime"] -= seconds * 1000
            self.lake.store.write(bucket, info.key, lines(*actions).encode())

    def mix_up_checkpoints(self, table, other):
        """A copy of the other table's checkpoint is in the place of the table's own."""
        settings, store = self.lake.settings, self.lake.store
        own, foreign = (f"{settings.user}/_checkpoints/{name}/" for name in (table, other))
        store.delete_prefix(settings.bucket, own)
        for info in [*store.list(settings.bucket, foreign)]:
            store.write(settings.bucket, own + info.key.removeprefix(foreign), store.read(settings.bucket, info.key))


@pytest.fixture(scope="module")
def shared(home, tmp_path_factory, empty_instance):
    """Gives the scene that the tests share: each begins and ends with three tables that agree."""
    with ExitStack() as stack:

        @cache
        def made():
            folder, name = tmp_path_factory.mktemp("scene"), uuid.uuid4().hex[:12]
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("LAKEHOUSE_ALERTS", f"file://{folder}/told.jsonl")
            patch.setenv("LAKEHOUSE_ENGINE", "local")
            settings = Settings.load(home=home, user="tester", bucket=f"lake-{name}", landing_prefix=f"{name}/")
            return Scene(Lake.open(settings), folder, stack.enter_context(instance_in(folder, empty_instance)))

        yield made


@pytest.fixture
def scene(shared, request):
    """The shared scene; after a test that failed the next has another."""
    failed, given = request.session.testsfailed, shared()
    assert given.rows(BRONZE) == given.rows(SILVER)
    yield given
    if request.session.testsfailed > failed:
        shared.cache_clear()


def red(scene, check, kind="check failed"):
    """Runs the job: exactly that check fails, and the channel is told once; what its page shows."""
    failed = scene.ingest()
    assert failed.keys() == {check}
    [alert] = scene.told()
    assert (alert["news"], alert["kind"], alert["table"]) == ("begun", kind, BRONZE)
    return failed[check]


def green(scene, kind="check failed"):
    """Runs the job: all is well, which is told once; the tables behind have followed."""
    assert scene.ingest() == {}
    [alert] = scene.told()
    assert (alert["news"], alert["kind"], alert["table"]) == ("recovered", kind, BRONZE)


def test_data_that_do_not_come_any_more(scene):
    scene.make_old(seconds=86_400)
    shown = red(scene, "fresh_within", "stale")
    assert shown["age_seconds"].value > shown["allowed_seconds"].value == 6 * 3600
    assert shown["next"].value.endswith(f"lakehouse ingest {BRONZE}")
    scene.send(scene.order())
    green(scene, "stale")  # the cure is the job itself, once the sender sends again


def test_an_order_that_was_sent_twice(scene):
    rows = scene.rows(BRONZE)
    scene.send(order(7), scene.order())
    shown = red(scene, "no_duplicate_orders")
    [row] = [record.data for record in shown["offending_rows"].records]
    assert (row["order_id"], row["copies"], row["source_files"].count(".json")) == ("o7", 2, 2)
    assert f"lakehouse forget {BRONZE} --duplicates --yes" in shown["next"].value
    assert scene.rows(SILVER) == rows, "silver waits"
    assert scene.ingest().keys() == {"no_duplicate_orders"}
    assert scene.told() == [], "told once, while it lasts"
    assert scene.pull("forget", table=BRONZE, duplicates=True)["forgotten_rows"] == 1
    green(scene)
    assert [scene.rows(BRONZE), scene.rows(SILVER)] == [rows + 1, rows + 1]


def test_a_file_whose_rows_are_lost(scene):
    rows, lost = scene.rows(BRONZE), [scene.order(), scene.order()]
    name = scene.send(*lost)
    assert scene.ingest() == {}
    numbers = ", ".join(f"'{one['order_id']}'" for one in lost)
    scene.lake.delta(BRONZE).delete(f"order_id IN ({numbers})")
    shown = red(scene, "every_file_loaded")
    [row] = [record.data for record in shown["offending_rows"].records]
    assert (row["file"].endswith(f"orders/{name}"), row["rows_read"], row["rows_in_table"]) == (True, 2, 0)
    assert f"--files {row['file']} --table {BRONZE} --yes" in shown["next"].value
    scene.pull("replay", table=BRONZE, files=[row["file"]])
    scene.pull("checkpoint_reset", table=SILVER)  # it has read the rows that are gone: it is computed from those of now
    green(scene)
    assert [scene.rows(BRONZE), scene.rows(SILVER)] == [rows + 2, rows + 2]


@pytest.mark.soak(
    "a lever that pins columns; each scene begins with it, and tests/spark/test_contracts.py has the check"
)
def test_a_column_that_the_contract_does_not_name(scene):
    name = scene.send(scene.order(coupon="TEN"))
    shown = red(scene, "schema_drift")
    [row] = [record.data for record in shown["offending_rows"].records]
    assert (row["column"], row["file"].endswith(f"orders/{name}")) == ("coupon", True)
    assert f"lakehouse schema contract --write --table {BRONZE}" in shown["next"].value
    assert scene.pull("schema_contract", table=BRONZE)["columns_pinned"] == 1
    green(scene)


@pytest.mark.soak("a line that is mended by a replay; the lost file above is replayed, test_cures.py has such a line")
def test_a_line_that_is_broken(scene):
    rows, whole = scene.rows(BRONZE), scene.order()
    name = scene.send(whole, broken='{"order_id": "broken')
    shown = red(scene, "no_corrupt_records")
    [row] = [record.data for record in shown["offending_rows"].records]
    assert row["_source_file"].endswith(f"orders/{name}") and "broken" in row["line"]
    assert f"lakehouse replay --files {row['_source_file']} --table {BRONZE} --yes" in shown["next"].value
    scene.put(name, lines(whole, scene.order()))
    assert scene.pull("replay", table=BRONZE, files=[row["_source_file"]])["replayed_files"] == 1
    green(scene)
    assert [scene.rows(BRONZE), scene.rows(SILVER)] == [rows + 2, rows + 2]


@pytest.mark.soak("a checkpoint that is another's, and its lever; test_one_run.py has such a checkpoint")
def test_a_checkpoint_of_another_table(scene):
    """On the engine local nothing turns red: the run goes by the table's commits. With Spark see test_one_run.py."""
    rows = scene.rows(BRONZE)
    scene.mix_up_checkpoints(SILVER, GOLD)
    shown = scene.pull("checkpoint_repair", table=SILVER)
    assert "the checkpoint is another's" in shown["what"]
    scene.send(scene.order())
    assert scene.ingest() == {}
    assert scene.told() == []
    assert [scene.rows(BRONZE), scene.rows(SILVER)] == [rows + 1, rows + 1]

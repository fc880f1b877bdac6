"""Keys, values and errors of every kind on their way through the commands and pictures, from a real store."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake import write_deltalake

from lakehouse.autoloader.options.paths import uri_key
from lakehouse.orders.plots import windows_by_payment_method
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.plain_text import printable

NAMES = [
    *("[/x].json", "[link=file:/etc]a[/link].json", r"$\frac$.json", "🧊 :warning:.json"),
    *("line\nend.json", "\x1b[31mred\x1b[0m.json", "\u202egnp.json"),
]
BAD = "\x1b[2J[/y]"


@pytest.fixture
def loaded(world):
    """Files of such names, half of them in quarantine; and records, kept with their reasons."""
    lake = world.lake
    checkpoint = lake.settings.checkpoint_uri(BRONZE)
    options = {"schemaLocation": checkpoint, "badRecordsPath": f"s3a://{lake.settings.bucket}/bad/"}
    for name in NAMES:
        world.put(name)
    for name in NAMES:
        world.put(f"{name}.gz", b"no gzip")
    world.put("records.json", f'{{"a": 1}}\n{{{BAD}\n'.encode())
    world.run(BRONZE, **options)
    place = f"{checkpoint.split('/', 3)[3]}/_source.json"
    lake.store.write(lake.settings.bucket, place, json.dumps({"journal": world.journal}).encode())
    return world


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("files",), [*NAMES, *(f"{name}.gz" for name in NAMES)]),
        (("quarantine",), [f"{name}.gz" for name in NAMES]),
        (("quarantine", "--records", "s3a://{bucket}/bad/"), ["records.json"]),
        (("copy-into", "bronze.c", "{landing}", "--format", "json", "--validate", "ALL"), [f"{n}.gz" for n in NAMES]),
    ],
    ids=["files", "quarantine", "records", "copy-into"],
)
def test_commands_show_keys_as_they_are_and_give_them_exactly(loaded, environment, arguments, expected):
    settings = loaded.lake.settings
    place = {"bucket": settings.bucket, "landing": settings.landing_uri}
    asked = [argument.format(**place) for argument in arguments]
    text = lakehouse_here(environment, *asked, COLUMNS="1000")
    assert "Traceback" not in text.stderr
    assert not set(text.stdout + text.stderr) & set("\x1b\u202e\r")
    told = json.loads(lakehouse_here(environment, *asked, "--json").stdout)
    keys = {uri_key(text): text for text in texts(told) if text.startswith("s3a://")}
    assert {f"{settings.landing_prefix}{name}" for name in expected} <= set(keys)
    shown = "".join(text.stdout.split())  # cells are folded
    for name in expected:
        assert printable(keys[f"{settings.landing_prefix}{name}"]).replace(" ", "") in shown


def texts(told):
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict | list):
        for value in [*told, *told.values()] if isinstance(told, dict) else told:
            yield from texts(value)


def test_tables_of_such_names_are_listed_and_read(lake, environment):
    uri = lake.settings.table_uri("bronze.seed").replace("s3a://", "s3://", 1)
    write_deltalake(uri, pa.table({"[/x]": [1]}), storage_options=lake.endpoint.deltalake_options())
    bucket, folder = lake.settings.bucket, f"{lake.settings.user}/bronze/"
    names = ["a.b", "[x]", r"$\frac$", "a`; drop", "a b", "a%20b", "a#b", "a?b", "ü"]
    for name in [*names, "line\nend", "\x1b[31m"]:
        for info in list(lake.store.list(bucket, f"{folder}seed/")):
            key = info.key.replace(f"{folder}seed/", f"{folder}{name}/")
            lake.store.write(bucket, key, lake.store.read(bucket, info.key))
    shown = lakehouse_here(environment, "tables", COLUMNS="1000").stdout
    told = {table["name"]: table for table in lakehouse_json_here(environment, "tables")["tables"]}
    assert set(told) == {"bronze.seed", *(f"bronze.{name}" for name in names)}
    for name in names:
        assert f"\nbronze.{name} " in shown
        assert told[f"bronze.{name}"]["columns"] == {"[/x]": "long"}
        for rows in (lake.rows(f"bronze.{name}"), lake.added_since(f"bronze.{name}", None)):
            assert rows.to_table().to_pylist() == [{"[/x]": 1}]


@pytest.mark.parametrize(
    "method", [r"$\frac$", "$x$ $", "_hidden", "line\nend", "\x1b[31m", "[/x]", "x" * 100_000, "🧊", ""]
)
def test_a_picture_is_drawn_whatever_the_payment_methods_are_called(lake, method):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = pa.table({"window_start": [start, start], "payment_method": [method, "card"], "order_count": [1, 2]})
    uri = lake.settings.table_uri(SILVER).replace("s3a://", "s3://", 1)
    write_deltalake(uri, rows, storage_options=lake.endpoint.deltalake_options())
    drawn = windows_by_payment_method(lake)
    assert drawn.png.startswith(b"\x89PNG")
    assert len(drawn.png) < 200_000

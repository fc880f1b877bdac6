"""A file that kills its reader where no task reads it: inference, a look ahead, a look back for a new column."""

import dataclasses
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
from e2e.kill_matrix import KillingProxy

from lakehouse.storage.environment import environment_of

LOOKS = """
import dataclasses, os, sys
from lakehouse.autoloader.context import Source
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.stream import Stream
from lakehouse.errors import UnknownFieldException

bucket, folder, lake = sys.argv[1].split("|")
options = CloudFilesOptions.parse({
    "path": f"s3a://{bucket}/{folder}",
    "cloudFiles.format": "json",
    "cloudFiles.schemaLocation": f"s3a://{lake}/schemas/one",
    "cloudFiles.journalLocation": f"s3a://{lake}/journal",
    "cloudFiles.schemaEvolutionMode": "inline",
})

def read_newest(schema):
    stream = Stream(dataclasses.replace(options, schema_evolution_mode="addNewColumns", min_partitions=9), None)
    start = {**stream.beginning(), "stream": "one"}
    stream.fix_target()
    tasks = stream.parts(start, stream.next_end(start, max_files=9, max_bytes=None))
    try:
        list(stream.read(tasks[-1], schema))
    except UnknownFieldException:
        return Source(options, None).inferred_schema()
    raise AssertionError("the newest file has no new column")

for asked in sys.stdin:  # each look is a process, which may die
    child = os.fork()
    if child == 0:
        schema = Source(options, None).inferred_schema()
        if asked == "ahead\\n":
            schema = Stream(options, None).look_ahead(schema)
        if asked == "back\\n":
            schema = read_newest(schema)
        print(",".join(schema.names), end=" ", flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


@contextmanager
def looks(world):
    """A function that makes a process look, and returns how that ended and the columns; and the proxy that kills it."""
    proxy = KillingProxy(int(world.lake.endpoint.url.rsplit(":", 1)[1]))
    proxy.poison = re.compile(rb"GET /\S+deadly\S*\.json")
    endpoint = dataclasses.replace(world.lake.endpoint, url=proxy.url)
    place = f"{world.bucket}|{world.folder}|{world.lake.settings.bucket}"
    variables = {**os.environ, **environment_of(endpoint)}
    with subprocess.Popen([sys.executable, "-c", LOOKS, place], env=variables, **PIPES) as looking:

        def look(asked=""):
            print(asked, file=looking.stdin, flush=True)
            *names, code = looking.stdout.readline().split()
            return int(code), names

        yield look, proxy
        looking.stdin.close()


def test_columns_are_found_without_the_file_that_kills_its_reader(world):
    with looks(world) as (look, proxy):
        world.put("good.json", b'{"a": 1}\n')
        world.put("deadly1.json", b'{"b": 1}\n')
        assert look()[0] < 0, "the first attempt dies"
        assert look() == (0, ["a,_rescued_data,_metadata"])
        assert len(proxy.victims) > 2, "probes died in place of the second one"


@pytest.mark.soak("a look ahead for new columns; the test above has the look at all files")
def test_new_columns_are_looked_for_ahead_without_the_file_that_kills_its_reader(world):
    with looks(world) as (look, _):
        world.put("good.json", b'{"a": 1}\n')
        assert look() == (0, ["a,_rescued_data,_metadata"])
        world.put("more.json", b'{"c": 1}\n')
        world.put("deadly2.json", b'{"d": 1}\n')
        assert look("ahead")[0] < 0
        assert look("ahead") == (0, ["a,c,_rescued_data,_metadata"])
        assert look("ahead") == (0, ["a,c,_rescued_data,_metadata"])


@pytest.mark.soak("a look back for a new column; the test of columns has the look at all files")
def test_a_new_column_is_looked_for_in_earlier_files_without_the_one_that_kills_its_reader(world):
    with looks(world) as (look, proxy):
        world.put("good.json", b'{"a": 1}\n')
        assert look() == (0, ["a,_rescued_data,_metadata"])
        world.put("deadly.json", b'{"b": 1}\n')
        world.put("new.json", b'{"c": 1}\n')
        assert look("back")[0] < 0, "a task of its own reads the newest file, and looks at the deadly one, too"
        assert look("back") == (0, ["a,c,_rescued_data,_metadata"])
        assert len(proxy.victims) > 2, "probes died in place of the second one"

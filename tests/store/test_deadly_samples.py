"""A file that kills its reader before any task reads it: where columns are inferred, where a stream looks ahead."""

import dataclasses
import os
import re
import subprocess
import sys

from e2e.kill_matrix import KillingProxy

from lakehouse.storage.environment import environment_of

LOOKS = """
import os, sys
from lakehouse.autoloader.context import Source
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.stream import Stream

bucket, folder, lake = sys.argv[1].split("|")
options = CloudFilesOptions.parse({
    "path": f"s3a://{bucket}/{folder}",
    "cloudFiles.format": "json",
    "cloudFiles.schemaLocation": f"s3a://{lake}/schemas/one",
    "cloudFiles.journalLocation": f"s3a://{lake}/journal",
    "cloudFiles.schemaEvolutionMode": "inline",
})
for asked in sys.stdin:  # each look is a process, which may die
    child = os.fork()
    if child == 0:
        schema = Source(options, None).inferred_schema()
        if asked == "ahead\\n":
            schema = Stream(options, None).look_ahead(schema)
        print(",".join(schema.names), end=" ", flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


def test_columns_are_found_without_the_file_that_kills_its_reader(world):
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

        world.put("good.json", b'{"a": 1}\n')
        world.put("deadly1.json", b'{"b": 1}\n')
        assert look()[0] < 0, "the first attempt dies"
        assert look() == (0, ["a,_rescued_data,_metadata"])
        assert len(proxy.victims) > 2, "probes died in place of the second one"

        world.put("more.json", b'{"c": 1}\n')
        world.put("deadly2.json", b'{"d": 1}\n')
        assert look("ahead")[0] < 0
        assert look("ahead") == (0, ["a,c,_rescued_data,_metadata"])
        assert "b" not in look("ahead")[1][0]
        looking.stdin.close()

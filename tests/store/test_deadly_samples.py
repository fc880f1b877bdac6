"""A file that kills its reader before any task reads it: where columns are inferred, where a stream looks ahead."""

import dataclasses
import os
import re
import subprocess
import sys

from e2e.kill_matrix import KillingProxy

from lakehouse.storage.environment import environment_of

LOOK = """
import sys
from lakehouse.autoloader.context import Source
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.stream import Stream
place, ahead = sys.argv[1:]
bucket, folder, lake = place.split("|")
options = CloudFilesOptions.parse({
    "path": f"s3a://{bucket}/{folder}",
    "cloudFiles.format": "json",
    "cloudFiles.schemaLocation": f"s3a://{lake}/schemas/one",
    "cloudFiles.journalLocation": f"s3a://{lake}/journal",
    "cloudFiles.schemaEvolutionMode": "inline",
})
schema = Source(options, None).inferred_schema()
if ahead == "ahead":
    schema = Stream(options, None).look_ahead(schema)
print(",".join(schema.names))
"""


def test_columns_are_found_without_the_file_that_kills_its_reader(world):
    proxy = KillingProxy(int(world.lake.endpoint.url.rsplit(":", 1)[1]))
    proxy.poison = re.compile(rb"GET /\S+deadly\S*\.json")
    endpoint = dataclasses.replace(world.lake.endpoint, url=proxy.url)
    place = f"{world.bucket}|{world.folder}|{world.lake.settings.bucket}"

    def look(ahead=""):
        return subprocess.run(
            [sys.executable, "-c", LOOK, place, ahead],
            env={**os.environ, **environment_of(endpoint)},
            capture_output=True,
            text=True,
            check=False,
        )

    world.put("good.json", b'{"a": 1}\n')
    world.put("deadly1.json", b'{"b": 1}\n')
    assert look().returncode < 0, "the first attempt dies"
    found = look()
    assert (found.returncode, found.stdout.strip()) == (0, "a,_rescued_data,_metadata"), found.stderr
    assert len(proxy.victims) > 2, "probes died in place of the second one"

    world.put("more.json", b'{"c": 1}\n')
    world.put("deadly2.json", b'{"d": 1}\n')
    assert look("ahead").returncode < 0
    found = look("ahead")
    assert (found.returncode, found.stdout.strip()) == (0, "a,c,_rescued_data,_metadata"), found.stderr
    assert "b" not in look("ahead").stdout.split(",")[0]

"""The conditions that can be explained are those of the Spark and the Delta that run here."""

import json
import zipfile
from pathlib import Path

import pyspark

from lakehouse.doctor.explained_spark import CONDITIONS
from lakehouse.engine.jars import ensure_jars


def named_in(folder, jar, member):
    [path] = folder.glob(jar)
    with zipfile.ZipFile(path) as opened:
        return set(json.loads(opened.read(member)))


def test_every_condition_that_is_explained_is_one_of_spark_s_or_delta_s():
    of_spark = named_in(Path(pyspark.__path__[0]) / "jars", "spark-common-utils_*.jar", "error/error-conditions.json")
    of_delta = named_in(ensure_jars(), "delta-spark_*.jar", "error/delta-error-classes.json")
    assert sorted(CONDITIONS.keys() - of_spark - of_delta) == []

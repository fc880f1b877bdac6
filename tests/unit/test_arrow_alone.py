"""Processes of ours do without pandas until somebody wants a data frame."""

import subprocess
import sys

import pyarrow as pa

from lakehouse.arrow_alone import keep_pandas_out, let_pandas_in

PROGRAM = """
import sys
from datetime import UTC, datetime
import numpy as np
from lakehouse.arrow_alone import keep_pandas_out, let_pandas_in
keep_pandas_out()
import pyarrow as pa
import pyarrow.compute as pc
noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
made = pa.table({"a": [1, None], "b": pa.array(np.array([0.5, np.nan])), "c": pa.array([noon, None])})
assert made["c"].to_pylist() == [noon, None] and pc.sum(pc.equal(made["a"], 1)).as_py() == 1
assert made["b"].null_count == 0 and pa.scalar("x").as_py() == "x"
assert "pandas" not in sys.modules, "kept out"
import pandas as pd
assert list(made.to_pandas()["a"])[0] == 1, "found where a data frame is asked for"
assert pa.Table.from_pandas(pd.DataFrame({"a": [1.5, np.nan]}))["a"].null_count == 1
"""
SERIES = """
import numpy as np
from lakehouse.arrow_alone import keep_pandas_out, let_pandas_in
keep_pandas_out()
let_pandas_in()
import pandas as pd
import pyarrow as pa
assert pa.array(pd.Series([1.5, np.nan])).null_count == 1, "pyarrow knows a series again"
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_values_come_and_go_without_pandas_and_a_data_frame_finds_it():
    run(PROGRAM)


def test_pandas_can_be_let_in_again():
    run(SERIES)


def test_where_pandas_is_there_nothing_changes():
    import numpy as np
    import pandas as pd

    before = list(sys.meta_path)
    keep_pandas_out()
    let_pandas_in()
    assert sys.meta_path == before
    assert pa.array(pd.Series([1.5, np.nan])).null_count == 1

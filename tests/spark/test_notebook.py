"""What somebody sees who types SQL into a notebook."""

import pytest
from pyspark.errors import AnalysisException, ParseException


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [("SELECT nothing FROM range(1)", AnalysisException, "nothing"), ("SELEC 1", ParseException, "SELEC")],
)
def test_a_slip_in_sql_is_an_error_and_no_json_beside_it(spark, capfd, text, error, word):
    with pytest.raises(error, match=word):
        spark.sql(text).collect()
    shown = capfd.readouterr()
    assert "QueryContextLogger" not in shown.err + shown.out

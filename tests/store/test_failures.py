"""What the text of an engine's failure means: whether the same run may succeed later."""

from dataclasses import replace

import pytest
from pydantic import SecretStr

from lakehouse.errors import EngineUnavailable, StreamFailed, TransientError
from lakehouse.streams.failures import SourceChanged, explained

TEXTS = {
    "[STREAM_FAILED] Python worker failed to connect back.\nCaused by: java.net.SocketTimeoutException: Timed out": (
        EngineUnavailable,
        "its machine is busy",
    ),
    "[DELTA_SOURCE_IGNORE_DELETE] Detected deleted data": (SourceChanged, "were changed or taken out"),
    "[STREAM_FAILED] [CONCURRENT_STREAM_LOG_UPDATE] Multiple streaming jobs detected for 5.": (
        TransientError,
        "another writer of bronze.t was faster",
    ),
    "[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Files were added to the root": (TransientError, "was faster"),
    "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column, variable, or function parameter with name `amount` cannot be "
    "resolved. Did you mean one of the following? [`total`]. SQLSTATE: 42703;": (
        StreamFailed,
        "bronze.t asks its source for a column that is not there: .*`amount`",
    ),
    "[DIVIDE_BY_ZERO] Division by zero.": (StreamFailed, "DIVIDE_BY_ZERO"),
    "": (StreamFailed, "ended with an error: RuntimeError"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_failure_of_the_engine_is_named_by_what_can_be_done(lake, text):
    kind, said = TEXTS[text]
    remote = SecretStr("sc://elsewhere:15002")  # no engine of this machine has died
    lake = replace(lake, settings=lake.settings.model_copy(update={"spark_remote": remote}))
    with pytest.raises(kind, match=said) as failed, explained(lake, "bronze.t"):
        raise RuntimeError(text)
    assert "run the same again" in failed.value.next_command or kind is StreamFailed

"""150 sets of options from public code: each is accepted, or refused for a reason that is good."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql.types import StructType

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.schema.versions import SchemaVersion, full_schema
from lakehouse.autoloader.source import settled
from lakehouse.errors import ConfigurationError

SETS = json.loads(Path(__file__).with_name("option_sets.json").read_text())

REASONS = {
    "Databricks knows no such option either": r"^Unknown option cloudFiles\.",
    "a credential is an option's value": r"^cloudFiles\.(clientSecret|connectionString) .* it is a credential",
    "quotes shall end values elsewhere": r"^unescapedQuoteHandling is 'STOP_AT_CLOSING_QUOTE'",
}
"""Each reason for which a set may be refused, and how it is said."""


def outcome(option_set):
    """``accepted``, ``warned``, the reason of a refusal, or its text where there is no good reason."""
    given = StructType().add("id", "string").add("value", "string")
    try:
        options = CloudFilesOptions.parse({"path": "s3a://bucket/in/", **option_set["options"]})
        inferred = full_schema(options, SchemaVersion(0, given, StructType()))
        options = settled(options, given if option_set["schema_given"] else inferred)
    except ConfigurationError as error:
        lines = error.what.splitlines()
        found = [
            next((reason for reason, said in REASONS.items() if re.search(said, line)), line)
            for line in lines
            if " is without effect: " not in line
        ]
        return next((text for text in found if text not in REASONS), found[0])
    return "warned" if options.notes else "accepted"


@pytest.fixture(scope="module")
def outcomes():
    return Counter(outcome(option_set) for option_set in SETS)


def test_every_set_is_accepted_or_refused_for_a_reason_that_is_listed(outcomes):
    assert sum(outcomes.values()) == len(SETS) == 150
    assert outcomes.keys() <= {"accepted", "warned", *REASONS}


def test_all_but_seven_are_accepted_and_two_thirds_without_a_word(outcomes):
    refused = {reason: outcomes[reason] for reason in REASONS}
    assert refused == {
        "Databricks knows no such option either": 3,
        "a credential is an option's value": 4,
        "quotes shall end values elsewhere": 0,  # the one set that says so has another reason, too
    }
    assert (outcomes["accepted"], outcomes["warned"]) == (99, 44)

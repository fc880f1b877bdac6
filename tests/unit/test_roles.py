"""The policies of roles: what ``lakehouse policies`` prints of a declaration, without a store."""

import json
import re
from pathlib import Path

import pytest
from command import lakehouse_here

from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError
from lakehouse.roles import ROLES, policy
from lakehouse.settings import Settings
from lakehouse.storage.policies import Grant, below, document

ROOT = Path(__file__).resolve().parents[2]
EVERY = ("list", "read", "write", "delete")
WRITES = {"s3:PutObject", "s3:DeleteObject"}


@pytest.fixture
def made(tmp_path):
    """The policy of a role, of a lake with these tables of files: name to flow."""

    def policy_of(role, **flows):
        file = tmp_path / "lakehouse.yaml"
        file.write_text(json.dumps({"tables": {f"bronze.{name}": {"files": flow} for name, flow in flows.items()}}))
        settings = Settings.load(declaration=file, user="me", bucket="lake")
        return policy(role, settings, read_catalogue(settings))

    return policy_of


def resources(document, action):
    """What an action is allowed to; for a listing the prefixes, or None for all."""
    found = [statement for statement in document["Statement"] if action in statement["Action"]]
    if action == "s3:ListBucket":
        return {
            statement["Resource"][0].removeprefix("arn:aws:s3:::"): statement.get("Condition", {})
            .get("StringLike", {})
            .get("s3:prefix")
            for statement in found
        }
    return {place.removeprefix("arn:aws:s3:::") for statement in found for place in statement["Resource"]}


def actions(document):
    return {action for statement in document["Statement"] for action in statement["Action"]}


def test_a_writer_may_write_below_its_users_folder_alone(made):
    document = made("writer", a={"path": "s3a://landing/a/"})
    for action in WRITES:
        assert resources(document, action) == {"lake/me/*"}
    assert resources(document, "s3:GetObject") == {"lake/me/*", "landing/a/*"}
    assert resources(document, "s3:ListBucket") == {"lake": ["me/*"], "landing": ["a/*"]}


@pytest.mark.parametrize("role", ROLES)
def test_files_that_land_on_a_disk_need_no_right_at_the_store(made, role):
    there = made(role, a={"path": "s3a://landing/a/"}, b={"path": "file:///landed/b/"})
    assert "file:" not in json.dumps(there)
    assert resources(there, "s3:ListBucket").keys() <= {"lake", "landing"}


@pytest.mark.parametrize("role", ["reader", "discoverer"])
def test_who_only_reads_may_change_nothing(made, role):
    document = made(role, a={"path": "s3a://landing/a/", "options": {"cloudFiles.cleanSource": "DELETE"}})
    assert actions(document) == {"s3:ListBucket", "s3:GetObject"}
    assert not any(place.startswith("landing/") for place in resources(document, "s3:GetObject"))


def test_no_role_may_do_everything_anywhere(made):
    for role in ROLES:
        document = made(role, a={"path": "s3a://landing/a/"})
        assert not [action for action in actions(document) if "*" in action]
        every = [place for statement in document["Statement"] for place in statement["Resource"]]
        assert not [place for place in every if re.fullmatch(r"arn:aws:s3:::(\*|[^/]+/\*)", place)]


@pytest.mark.parametrize(
    ("options", "may"),
    [
        ({}, set()),
        ({"cloudFiles.cleanSource": "DELETE"}, {("s3:DeleteObject", "landing/a/*")}),
        (
            {"cloudFiles.cleanSource": "MOVE", "cloudFiles.cleanSource.moveDestination": "s3a://landing/done"},
            {("s3:DeleteObject", "landing/a/*"), ("s3:PutObject", "landing/done/*")},
        ),
        (
            {"badRecordsPath": "s3a://other/bad"},
            {("s3:DeleteObject", "other/bad/*"), ("s3:PutObject", "other/bad/*")},
        ),
    ],
    ids=["nothing", "DELETE", "MOVE", "badRecordsPath"],
)
def test_a_writer_may_change_outside_of_the_lake_what_options_say(made, options, may):
    document = made("writer", a={"path": "s3a://landing/a/", "options": options})
    found = {(action, place) for action in WRITES for place in resources(document, action)}
    assert found - {(action, "lake/me/*") for action in WRITES} == may


def test_a_path_without_a_slash_is_a_folder_and_a_file(made):
    document = made("writer", a={"path": "s3a://landing/a/one.csv", "format": "csv"})
    assert resources(document, "s3:GetObject") == {"lake/me/*", "landing/a/one.csv", "landing/a/one.csv/*"}


def test_a_path_that_names_a_whole_bucket_opens_it(made):
    document = made("reader", a={"path": "s3a://landing/*/a/"})
    assert resources(document, "s3:ListBucket")["landing"] is None


@pytest.mark.parametrize("prefix", ["a*b/", "a?/", "${aws:username}/"])
def test_a_prefix_that_would_stand_for_others_is_refused(prefix):
    with pytest.raises(ConfigurationError, match="stand for other characters"):
        below("lake", prefix, "read")


def test_what_lies_below_another_right_is_not_said_again():
    said = document([*below("lake", "me/", *EVERY), *below("lake", "me/deep/", *EVERY), Grant("read", "lake", "me")])
    assert resources(said, "s3:GetObject") == {"lake/me", "lake/me/*"}
    assert resources(said, "s3:PutObject") == {"lake/me/*"}


def test_the_command_prints_the_document_for_people_and_programs(made, tmp_path):
    expected = made("writer", a={"path": "s3a://landing/a/"})
    given = {
        "LAKEHOUSE_DECLARATION": str(tmp_path / "lakehouse.yaml"),
        "LAKEHOUSE_USER": "me",
        "LAKEHOUSE_BUCKET": "lake",
    }
    for more in ((), ("--json",)):
        done = lakehouse_here(given, "policies", "writer", *more)
        assert (done.returncode, json.loads(done.stdout)) == (0, expected)
    assert json.loads(lakehouse_here(given, "policies", "--json").stdout)["policies"].keys() == ROLES.keys()
    assert all(name in lakehouse_here(given, "policies").stdout for name in ROLES)
    wrong = lakehouse_here(given, "policies", "owner")
    assert wrong.returncode == 1 and "writer, reader, discoverer" in wrong.stderr


def test_the_page_about_security_has_each_role_and_no_other():
    section = (ROOT / "SECURITY.md").read_text().split("## Three roles")[1]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*ROLES]

"""Load paths with globs, and keys as paths and back."""

import string

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lakehouse.autoloader.options.paths import SourcePath, key_uri, split_uri, uri_key
from lakehouse.errors import ConfigurationError

GLOBS = [
    ("in/", "in/a.json", True),
    ("in", "in/a/b.json", True),
    ("in", "inner/a.json", False),
    ("in/a.json", "in/a.json", True),
    ("in/_day/.a.json", "in/_day/.a.json", True),
    ("in/a.json", "in/a.json.old", False),
    ("in/a.json", "in/b.json", False),
    ("in/a.json/", "in/a.json", False),
    ("", "a.json", True),
    ("in/*.json", "in/a/b.json", True),
    ("in/{a,b}/", "in/b/x", True),
    ("in/{a,b}/", "in/c/x", False),
    ("in/[0-9]?/", "in/7x/y", True),
    ("in/[^0-9]/", "in/7/y", False),
    (r"in/\*/", "in/*/y", True),
    (r"in/\*/", "in/z/y", False),
    ("in/", "in/_hidden/a", False),
    ("in/", "in/.hidden", False),
    ("in/", "in/_day=1/a", True),
    ("_in/", "_in/a", True),
]


@pytest.mark.parametrize(("pattern", "key", "covered"), GLOBS)
def test_a_path_covers_what_auto_loaders_globs_cover(pattern, key, covered):
    assert SourcePath.parse(f"s3a://b/{pattern}").covers(key) is covered


@pytest.mark.parametrize(
    ("pattern", "key", "covered"),
    [
        ("in/*.json", "in/x.json", True),
        ("in/*.json", "in/a/x.json", False),
        ("in/*/", "in/a/b/x.json", True),
        ("in/*/", "in/x.json", True),  # Hadoop drops the slash at the end
        ("in/a*/2*", "in/ab/2026/x.json", True),
        ("in/a*/2*", "in/ab/c/2026/x.json", False),
    ],
)
def test_a_strict_star_stays_between_slashes(pattern, key, covered):
    assert SourcePath.parse(f"s3a://b/{pattern}", strict=True).covers(key) is covered


@pytest.mark.parametrize(
    ("pattern", "root"), [("in/x/*.json", "in/x/"), ("in/x*/y", "in/"), ("*", ""), ("in/x", "in/x/")]
)
def test_what_is_listed_ends_before_the_first_glob(pattern, root):
    assert SourcePath.parse(f"s3://b/{pattern}").root == root


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda key: not key.startswith("/")))
def test_every_key_comes_back_from_its_path(key):
    assert uri_key(key_uri("bucket", key)) == key


def test_a_plain_key_is_spelled_as_it_is():
    key = string.ascii_letters + string.digits + "-_.~/!$&'()*+,;=:@é"
    assert key_uri("b", key) == f"s3a://b/{key}"


@pytest.mark.parametrize("uri", ["s3a://", "https://b/k", "s3a:/b/k", "", "tmp/x"])
def test_other_places_are_refused(uri):
    with pytest.raises(ConfigurationError, match="not a path of an object store"):
        split_uri(uri)


def test_a_brace_that_is_not_closed_is_refused():
    with pytest.raises(ConfigurationError, match="brace"):
        SourcePath.parse("s3a://b/in/{a,b")

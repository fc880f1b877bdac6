"""What is wrong with a declaration is told at its line, all of it at once."""

from __future__ import annotations

import pytest
from declaration_texts import FILES, WINDOWS, only_problem, table

from lakehouse.declaration import DeclarationInvalid, read_catalogue
from lakehouse.settings import Settings

# what is wrong with the file


def test_a_missing_file_tells_how_to_begin(tmp_path) -> None:
    with pytest.raises(DeclarationInvalid) as caught:
        read_catalogue(Settings.load(declaration=tmp_path / "none.yaml"))
    assert caught.value.where.endswith("none.yaml") and "lakehouse init" in caught.value.next_command


def test_a_folder_in_place_of_the_file_is_told(tmp_path) -> None:
    with pytest.raises(DeclarationInvalid, match="cannot be read: Is a directory"):
        read_catalogue(Settings.load(declaration=tmp_path))


def test_a_tab_in_the_indentation_is_told_as_one(read) -> None:
    line, said = only_problem(read, "tables:\n  bronze.a:\n\tfiles: {path: s3a://a/}\n")
    assert (line, said) == (3, "a tab is in the indentation: YAML takes spaces alone")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("tables:\n  bronze.a: {files: {path: s3a://a/}\n", 2, "this is no YAML"),
        ("x: 1\ntables: {a: b,\n c: d\n\n", 2, "this is no YAML"),
        ("tables:\n  bronze.a: [1, 2\n  b: c\n", 3, "this is no YAML"),
        ("tables: 'open\n\n", 1, "this is no YAML"),
        ("tables:\n  a: b: c\n", 2, "mapping values are not allowed"),
        ("tables:\n  a: \x07\n", 2, "may not stand in it"),
        ("tables:\n  bronze.a: *nobody\n", 2, "*nobody is nowhere"),
        ("tables: &a\n  bronze.a: *a\n", 2, "*a contains itself"),
        ("tables:\n---\ntables:\n", 3, "a second document begins"),
        ("tables:\n  ? [a, b]\n  : 1\n", 2, "a key has to be a text"),
        ("- tables\n", 1, "the file is no mapping"),
        ("\n\njust a text\n", 3, "the file is no mapping"),
        ("tables: [a]\n", 1, "tables has to be a mapping"),
        ("tables:\n  bronze.a:\n    <<: 5\n    files: {path: s3a://a/}\n", 3, "<< takes in a mapping"),
        ("x: " + "[" * 100_000, 1, "more than 40 levels"),
        (b"tables:\n  bronze.a: \xff\xfe\n", 2, "the file is not UTF-8"),
        ("#" * (5 * 1024 * 1024 + 1), 0, "larger than 5 MB"),
    ],
)
def test_text_that_is_no_declaration_is_refused_at_its_line(read, text, line, words) -> None:
    found = only_problem(read, text)
    assert found[0] == line
    assert words in found[1]


def test_aliases_that_stand_for_billions_of_values_are_refused(read) -> None:
    laughs = ["x-0: &l0 [a, a, a, a, a, a, a, a, a, a]"]
    laughs += [f"x-{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    line, said = only_problem(read, "\n".join([*laughs, "tables:", "  bronze.a: {files: *l9}"]))
    assert "more than 200,000 values" in said and line > 0
    merges = ["x-0: &l0 {a: 1}"]
    merges += [f"x-{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    line, said = only_problem(read, "\n".join([*merges, "tables:", "  bronze.a: {files: *l9}"]))
    assert "more than 200,000 values" in said


def test_a_tag_is_refused_and_makes_nothing(read) -> None:
    line, said = only_problem(read, f"tables:\n  bronze.a: {FILES}\nx-a: !!python/object/apply:os.abort []\n")
    assert line == 3 and "is a tag" in said


def test_a_key_that_is_there_twice_is_told_with_both_lines(read) -> None:
    line, said = only_problem(read, f"tables:\n  bronze.a: {FILES}\n  bronze.a: {FILES}\n")
    assert (line, said) == (3, "bronze.a is there twice: it is in line 2, too")
    line, said = only_problem(
        read, "tables:\n  bronze.a:\n    files:\n      path: s3a://a/b/\n      path: s3a://a/c/\n"
    )
    assert (line, said) == (5, "path is there twice: it is in line 4, too")


def test_all_problems_come_at_once_the_first_ten_of_them_with_their_lines(read) -> None:
    rows = [f"  bronze.t{n}: {{files: {{path: s3a://a/b/, formt: json}}}}" for n in range(12)]
    with pytest.raises(DeclarationInvalid) as caught:
        read("\n".join(["tables:", *rows]))
    assert len(caught.value.problems) == 12
    lines = caught.value.what.splitlines()
    assert lines[0].startswith("12 problems in ") and lines[-1] == "  and 2 more" and len(lines) == 12
    assert lines[1] == "  line 2: unknown key formt in files of bronze.t0: did you mean format?"


# what is wrong with a table


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("tabels:\n", 1, "unknown key tabels: did you mean tables?"),
        ("alerts: {ownrs: {}}\n", 1, "unknown key ownrs in alerts: did you mean owners?"),
        ("alerts:\n  most_an_hour: 0\n", 2, "most_an_hour in alerts is 0: input should be greater than or equal to 1"),
        (
            "alerts:\n  owners: {sales: SALES}\n",
            2,
            "owners in alerts: 'sales' is no owner: write a mail address, or team:name",
        ),
        (
            "alerts:\n  owners: {'team:sales': 'slack://canary'}\n",
            2,
            "owners.team:sales in alerts: write the name of a variable of the environment, such as SALES_ALERTS: "
            "addresses hold keys",
        ),
        ("alerts: often\n", 1, "alerts has to be a mapping with owners, most_an_hour"),
        (table("latst: {of: bronze.src, key: id}"), 4, "unknown key latst in silver.a: did you mean latest?"),
        (
            table("latest: {of: bronze.src, key: id}\nowner: me"),
            5,
            "unknown key owner in silver.a: did you mean owners?",
        ),
        (
            table("latest: {of: bronze.src, kee: id, key: id}"),
            4,
            "unknown key kee in latest of silver.a: did you mean key?",
        ),
        (
            table("latest:\n  of: bronze.src\n  key: id\n  event_time:\n    column: t\n    futur_limit: 1 day"),
            9,
            "unknown key futur_limit in event_time in latest of silver.a: did you mean future_limit?",
        ),
        (table("latest: {of: bronze.src}"), 4, "latest of silver.a lacks key"),
        (table("windows: {of: bronze.src, window: 5 minutes}"), 4, "windows of silver.a lacks event_time"),
        (table("description: nothing else"), 3, "silver.a has no flow: give it one of"),
        (
            table("latest: {of: bronze.src, key: id}\nsql: {of: bronze.src, query: SELECT 1}"),
            5,
            "silver.a has 2 flows: latest and sql; leave one",
        ),
        (table("latest: 5"), 4, "latest of silver.a has to be a mapping with"),
        ("tables:\n  bronze.a: 5\n", 2, "bronze.a has to be a mapping with the key of a flow"),
        (
            f"tables:\n  bronze.a: {FILES}\n  bronze.A: {FILES}\n",
            3,
            "bronze.A is spelled as bronze.a in line 2 but for its case: to SQL both are one table",
        ),
        (f"tables:\n  brnze.a: {FILES}\n", 2, "'brnze.a' is no table name: it has to begin with bronze."),
        (f"tables:\n  brnze.a: {FILES}\n", 2, "(did you mean bronze.a?)"),
        (f"tables:\n  bronze.a-b: {FILES}\n", 2, "'bronze.a-b' is no table name"),
        (table("latest: {of: bronze.sr, key: id}"), 4, "which is not declared: did you mean bronze.src?"),
        (table("latest: {of: bronze.src, key: id}\nowners: me"), 5, "'me' is no owner"),
        (table("latest: {of: bronze.src, key: id}\nfreshness: soon"), 5, "'soon' is no length of time"),
        (
            table("latest: {of: bronze.src, key: id}\nafter_removals: folow"),
            5,
            "is 'folow': write one of ask, follow, keep (did you mean follow?)",
        ),
        (
            table("latest: {of: bronze.src, key: id}\nretention: {column: at, keep: 9 days}"),
            5,
            "silver.a is computed, and would have its old rows again: declare it of the table that files fill",
        ),
        (
            table("latest: {of: bronze.src, key: id}\nretention: {column: at, keep: 0 days}"),
            5,
            "retention",
        ),
        (table("python: {of: bronze.src, function: my_module}"), 4, "'my_module' names no function"),
        (table("latest: {of: bronze.src, key: id}\nchecks: {a: b}"), 5, "checks of silver.a have to be a list"),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - one_row_eech: id"),
            6,
            "unknown kind of check one_row_eech in silver.a: did you mean one_row_each?",
        ),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - one_row_each: id\n    on_failur: warn"),
            7,
            "check one_row_each of silver.a: unknown key on_failur beside one_row_each: did you mean on_failure?",
        ),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - plausible_rows:\n      max_shar: 1"),
            7,
            "unknown key max_shar in check plausible_rows of silver.a: did you mean max_share?",
        ),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - plausible_rows: {name: a}\n    name: b"),
            7,
            "name is there twice, within plausible_rows and beside it",
        ),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - plausible_rows:\n    max_share: 2"),
            7,
            "max_share belongs to the check itself: write plausible_rows: {max_share: ...}",
        ),
        (table("latest: {of: bronze.src, key: id}\nchecks:\n  - plausible_rows: 5"), 6, "takes a mapping with"),
        (table("latest: {of: bronze.src, key: id}\nchecks:\n  - name: x"), 6, "its kind is missing"),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - one_row_each: id\n  - of_files_alone"),
            7,
            "of_files_alone examines tables made by files or windows, and silver.a is made by latest",
        ),
        (table("latest: {of: bronze.src, key: id}\nchecks:\n  - [a]"), 6, "a check of silver.a is no mapping"),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - {one_row_each: id, plausible_rows: }"),
            6,
            "is of 2 kinds",
        ),
        (
            table("latest: {of: bronze.src, key: id}\nchecks:\n  - one_row_each: id\n  - one_row_each: other"),
            7,
            "silver.a has two checks named one_row_each; the other is in line 6",
        ),
        (table("latest: {of: bronze.src, key: id, change_data_feed: perhaps}"), 4, "is 'perhaps': "),
    ],
)
def test_what_is_wrong_with_a_table_is_told_at_its_line(read, text, line, said) -> None:
    found = only_problem(read, text)
    assert found[0] == line
    assert said in found[1]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("watermark: 1 hour", "window or "),
        ("window: 10 milliseconds", "must be one second or longer"),
        ("window: 5 minutes\n  slide: 0 seconds", "must be one second or longer"),
        ("window: 5 minutes\n  slide: 10 minutes", "slide is longer than window"),
        ("session_gap: 5 minutes\n  slide: 1 minute", "session_gap and slide exclude each other"),
        ("session_gap: 5 minutes\n  output_mode: update", "Spark has no session windows in that mode"),
        ("window: 1 second\n  watermark: 100000 days", "windows open at a time"),
    ],
)
def test_windows_that_make_no_sense_are_refused_in_the_words_of_the_file(read, keys, said) -> None:
    line, what = only_problem(read, table(f"{WINDOWS}  {keys}"))
    assert line == 4 and "windows of silver.a" in what and said in what


# what tables are to each other


def test_a_cycle_is_told_from_table_to_table(read) -> None:
    line, said = only_problem(
        read,
        """tables:
  silver.z: {sql: {of: silver.a, query: SELECT 1}}
  silver.a: {sql: {of: silver.b, query: SELECT 1}}
  silver.b: {sql: {of: silver.c, query: SELECT 1}}
  silver.c: {sql: {of: silver.a, query: SELECT 1}}
""",
    )
    assert (line, said) == (3, "tables read each other in a cycle: silver.a -> silver.b -> silver.c -> silver.a")
    line, said = only_problem(read, "tables:\n  silver.a: {sql: {of: silver.a, query: SELECT 1}}\n")
    assert (line, said) == (2, "tables read each other in a cycle: silver.a -> silver.a")


def test_a_rollup_needs_a_change_data_feed(read) -> None:
    rollup = "  gold.r:\n    rollup:\n      of: {of}\n      group: {{day: day}}\n      aggregates: {{n: count(*)}}\n"
    text = table("latest: {of: bronze.src, key: id, change_data_feed: false}", more=rollup.format(of="silver.a"))
    line, said = only_problem(read, text)
    assert line == 7 and "no change data feed: set change_data_feed: true there" in said
    line, said = only_problem(read, table("latest: {of: bronze.src, key: id}", more=rollup.format(of="bronze.src")))
    assert line == 7 and "a rollup reads a latest table" in said
    assert "gold.r" in read(table("latest: {of: bronze.src, key: id}", more=rollup.format(of="silver.a")))


def test_windows_over_files_need_a_table_of_files(read) -> None:
    windows = "  gold.w:\n    windows: {of: silver.a, event_time: t, window: 1 hour, source: files}\n"
    line, said = only_problem(read, table("latest: {of: bronze.src, key: id}", more=windows))
    assert line == 6 and "silver.a, which is made by latest and has none" in said


# options of files


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        (
            "path: s3a://a/b/\n      options:\n        cloudFiles.maxFilePerTrigger: 3",
            6,
            "did you mean cloudFiles.maxFilesPerTrigger",
        ),
        ("path: s3a://a/b/\n      options: {multiLin: true}", 5, "did you mean multiLine"),
        ("path: s3a://a/b/\n      options: {multiLine: yes please}", 5, "write true or false"),
        ("path: s3a://a/b/\n      options: {cloudFiles.maxFilesPerTrigger: many}", 5, "write a whole number"),
        (
            "path: s3a://a/b/\n      options: {cloudFiles.fileNamesAlone: true}",
            5,
            "Unknown option cloudFiles.fileNamesAlone",
        ),
        ("path: tmp/orders", 4, "path of an object store"),
        ("path: s3a://a/b/\n      format: jsn", 5, "write one of json, csv"),
        ("path: s3a://a/b/\n      glob: '*.{json'", 5, "glob has a brace"),
        ("path: s3a://a/b/\n      engine: local\n      sink: spark", 3, "sink: spark needs engine: spark"),
        ("path: s3a://a/b/\n      options: {cloudFiles.cleanSource: MOVE}", 5, "needs cloudFiles.cleanSource.moveDest"),
        (
            "path: s3a://a/b/\n      source: spark\n      options: {cloudFiles.inferColumnTypes: true}",
            6,
            "needs source",
        ),
    ],
)
def test_options_of_files_are_checked_before_any_stream_starts(read, body, line, said) -> None:
    found = only_problem(read, f"tables:\n  bronze.a:\n    files:\n      {body}\n")
    assert found[0] == line
    assert said in found[1]


def test_a_given_schema_cannot_grow(read) -> None:
    body = "path: s3a://a/b/\n      schema: id INT\n      options: {cloudFiles.schemaEvolutionMode: addNewColumns}"
    line, said = only_problem(read, f"tables:\n  bronze.a:\n    files:\n      {body}\n")
    assert line == 6 and "addNewColumns cannot change a given schema" in said


def test_a_given_schema_has_the_column_for_what_the_mode_rescues(read) -> None:
    options = "cloudFiles.schemaEvolutionMode: rescue"
    text = "tables:\n  bronze.a:\n    files:\n      path: s3a://a/b/\n      options: {%s}\n      schema: id INT%s\n"
    line, said = only_problem(read, text % (options, ""))
    assert (line, said) == (6, "bronze.a: what does not fit would be lost: add _rescued_data STRING to the schema")
    read(text % (options, ", _rescued_data STRING"))
    read(text % ("rescuedDataColumn: _rescued_data", ""))


CLEANS = "options: {cloudFiles.cleanSource: DELETE, cloudFiles.cleanSource.retentionDuration: 30 days}"


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("path: s3a://a/b/", "path: s3a://a/b", True),
        ("path: s3a://a/b/", "path: s3a://a/b/c/", True),
        ("path: s3a://a/b/", "path: s3a://a/*/c/", True),
        ("path: s3a://a/b/", "path: s3a://a/c/", False),
        ("path: s3a://a/b/", "path: s3a://other/b/", False),
        ("path: s3a://a/b/, glob: '*.json'", "path: s3a://a/b/, glob: '*.csv'", False),
        ("path: s3a://a/b/, glob: '*.json'", "path: s3a://a/b/, glob: 'orders*'", True),
    ],
)
def test_a_table_must_not_remove_files_that_another_reads(read, first, second, shared) -> None:
    text = f"tables:\n  bronze.a: {{files: {{{first}, {CLEANS}}}}}\n  bronze.b: {{files: {{{second}}}}}\n"
    if not shared:
        assert len(read(text).tables) == 2
        return
    line, said = only_problem(read, text)
    assert line == 2 and "cloudFiles.cleanSource DELETE" in said and "bronze.b (line 3) reads the same files" in said


def test_a_file_that_cannot_be_read_is_told(tmp_path) -> None:
    path = tmp_path / "lakehouse.yaml"
    path.symlink_to(path)  # what nobody can read, whatever rights he has
    with pytest.raises(DeclarationInvalid, match="symbolic links"):
        read_catalogue(Settings.load(declaration=path))

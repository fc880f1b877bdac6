"""The notebooks: the course in two languages with one code and the page that leads to it; and code of Databricks."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, POLISH = (ROOT / f"notebooks/{name}.ipynb" for name in ("streaming_ingestion", "streaming_ingestion_pl"))
NOTEBOOKS = pytest.mark.parametrize("path", [ENGLISH, POLISH], ids=["english", "polish"])
ALL = pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
PAGE = (ROOT / "docs/course.md").read_text(encoding="utf-8")
TABLES = (
    "bronze.orders_streaming_basic",
    "bronze.orders_autoloader",
    "bronze.orders_trigger_availablenow",
    "bronze.orders_checkpoint_demo",
    "silver.orders_windowed_aggregates",
)


def cells(path, kind):
    """The cells of a kind."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def headings(path):
    """Level and words of each heading, with the number of its cell; fenced text has none."""
    told = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            told += [(number, len(level), words) for level, words in re.findall(r"^(#+) (.+)$", text, re.MULTILINE)]
    return told


@ALL
def test_a_notebook_is_valid_without_outputs_and_its_code_compiles(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = cells(path, "code")
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    for cell in code:
        compile(cell.source, cell.id, "exec")


def test_both_languages_have_the_same_code_in_the_same_places():
    english, polish = (nbformat.read(path, as_version=4).cells for path in (ENGLISH, POLISH))
    assert [(cell.id, cell.cell_type) for cell in english] == [(cell.id, cell.cell_type) for cell in polish]
    assert [cell.source for cell in cells(ENGLISH, "code")] == [cell.source for cell in cells(POLISH, "code")]


def test_every_heading_table_and_link_has_its_counterpart():
    assert [heading[:2] for heading in headings(ENGLISH)] == [heading[:2] for heading in headings(POLISH)]
    for english, polish in zip(cells(ENGLISH, "markdown"), cells(POLISH, "markdown"), strict=True):
        assert english.source != polish.source
        shapes = [
            [row.count("|") for row in cell.source.splitlines() if row.startswith("|")] for cell in (english, polish)
        ]
        assert shapes[0] == shapes[1], english.id
        links = [re.findall(r"\]\(([^)\s]+)\)", cell.source) for cell in (english, polish)]
        assert links[0] == links[1], english.id


@ALL
def test_a_notebook_names_no_machine_and_its_links_lead_somewhere(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    assert re.findall(r"(?<![\w:/.`])/(?:home|root|tmp|work|Users|dbfs|mnt)/\S*", text) == []
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    assert targets
    assert [target for target in targets if not (path.parent / target).exists()] == []


@NOTEBOOKS
def test_the_course_has_the_tables_of_the_training(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    assert [name for name in TABLES if name not in text] == []


@NOTEBOOKS
def test_the_ten_sections_come_in_the_order_of_the_training(path):
    numbers = [re.match(r"(?:Section|Sekcja) (\d+)", words) for _, level, words in headings(path) if level == 2]
    assert [int(found[1]) for found in numbers if found] == list(range(1, 11))


def test_most_code_cells_prove_what_they_teach():
    without = [cell.id for cell in cells(ENGLISH, "code") if "assert " not in cell.source]
    # these connect, define and end; the windows are proved by the next cell
    assert without == ["configuration-session", "s3-helpers", "s4-windows", "s10-end"]


def test_the_polish_text_is_polish():
    text = "\n".join(cell.source for cell in cells(POLISH, "markdown"))
    assert all(letter in text for letter in "ąćęłńóśźż")
    assert re.findall(r"\b(the|which|every|with)\b", re.sub(r"`[^`]*`|```.*?```", "", text, flags=re.DOTALL)) == []


def test_the_page_names_headings_that_are_there_and_every_section():
    left = PAGE.split("## Its features")[0]
    named = set(re.findall(r'"([^"]+)"', left))
    assert named - {words for _, _, words in headings(ENGLISH)} == set()
    rows = re.findall(r"^\| (\d+), ", left, re.MULTILINE)
    assert sorted(set(map(int, rows))) == list(range(1, 11))


def test_every_feature_names_a_test_that_exists():
    rows = [row for row in PAGE.split("## Its features")[1].splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 30
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, row

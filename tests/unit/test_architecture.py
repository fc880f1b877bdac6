"""docs/architecture.md is a map of what is there: every part is on it, and what is on it exists."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/architecture.md"
PATH = re.compile(r"`((?:lakehouse|assets|resources|tests|docs)/[\w/.]*)(?::([\w.]+))?`")
DOTTED = re.compile(r"`((?:lakehouse|assets|resources)(?:\.\w+)*)`")


def _prose():
    return re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)


def _defined(path):
    """Names at the top of a module, and ``Class.method``."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
            within = node.body if isinstance(node, ast.ClassDef) else []
            names.update(f"{node.name}.{member.name}" for member in within if isinstance(member, ast.FunctionDef))
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


def test_every_path_on_the_page_exists():
    named = PATH.findall(_prose())
    assert len(named) > 50
    assert [path for path, _ in named if not (ROOT / path).exists()] == []


def test_every_function_and_class_on_the_page_exists():
    named = {(path, name) for path, name in PATH.findall(_prose()) if name}
    assert len(named) > 15
    assert [f"{path}:{name}" for path, name in sorted(named) if name not in _defined(ROOT / path)] == []


def test_every_dotted_module_on_the_page_exists():
    named = sorted({name for name in DOTTED.findall(_prose()) if name != "lakehouse.yaml"})
    assert len(named) > 15
    places = [ROOT / name.replace(".", "/") for name in named]
    assert [str(place) for place in places if not (place.is_dir() or place.with_suffix(".py").exists())] == []


def _parts():
    """The modules and packages at the top of the library."""
    parts = [part for part in (ROOT / "lakehouse").iterdir() if not part.name.startswith("__")]
    return [part for part in parts if part.suffix == ".py" or (part / "__init__.py").exists()]


def _places():
    """For each part that the import rules name its place in them, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [rules] = [contract["layers"] for contract in contracts if contract["name"] == "Data flows down the library"]
    return {name.strip(): number for number, layer in enumerate(rules) for name in layer.split("|")}


def test_every_part_of_the_library_is_on_the_page():
    named = {path.rstrip("/") for path, _ in PATH.findall(_prose())}
    assert [part.name for part in _parts() if f"lakehouse/{part.name}" not in named] == []


def test_every_part_of_the_library_has_its_layer():
    assert {f"lakehouse.{part.stem}" for part in _parts()} == _places().keys()


def test_the_layers_on_the_page_are_in_the_order_of_the_import_rules():
    place = _places()
    section = _prose().split("## Layers\n")[1].split("\n## ")[0]
    listed = [DOTTED.findall(line.split(":")[0]) for line in section.splitlines() if re.match(r"\d\. ", line)]
    told = [name for names in listed for name in names if name in place]
    assert len(told) > 15
    assert told == sorted(told, key=place.__getitem__)


def test_the_readme_and_the_contributors_page_lead_to_it():
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "](docs/architecture.md)" in (ROOT / name).read_text()

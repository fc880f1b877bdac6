"""Which test files the changes of the working tree can reach: ``./dev test --changed``.

A graph says which module uses which modules and files; a test is reached when it uses a changed file, through however
many others. The graph is read from imports and strings: it has more edges than any run, and hardly ever fewer.
"""

import argparse
import ast
import re
import subprocess
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lakehouse", "pyspark_cloudfiles", "resources", "assets", "benchmarks")
EVERYTHING = {Path(name) for name in ("pyproject.toml", "requirements.lock", "dev", "tests/conftest.py")}
# what a test uses though no string of it says so: a program that a program starts, a name that is put together
UNSAID = {
    "tests/e2e/test_drop_in.py": "pyspark_cloudfiles/__init__.py",
    "tests/e2e/test_readme.py": "assets/demo.py",
    "tests/e2e/test_stranger.py": "lakehouse/cli/main.py",
    "tests/dagster/test_workspace.py": "assets/definitions.py",
    "tests/unit/test_peers.py": "benchmarks/requirements-peers.in",
}


def changed_files(base="HEAD"):
    """Files that differ from ``base``, new and removed ones too; a renamed file is one of each."""
    return _git("diff", "--name-only", "--no-renames", base) | _git("ls-files", "-o", "--exclude-standard")


@cache
def all_tests():
    """Every test file of the tree, sorted."""
    return sorted(path.relative_to(ROOT) for path in ROOT.glob("tests/**/test_*.py"))


def reached(changed) -> list[Path]:
    """The test files whose outcome can depend on a changed file, sorted; all of them when that cannot be told."""
    if any(path in EVERYTHING or not (ROOT / path).exists() for path in changed):
        return all_tests()
    users, waiting, seen = _users(), list(changed), set()
    while waiting:
        if (node := waiting.pop()) not in seen:
            seen.add(node)
            waiting += users.get(node, ())
    return [path for path in all_tests() if _node(path) in seen]


def main():
    """Prints a test file a line, ``tests`` for all of them, and nothing when none is reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="HEAD", metavar="REV", help="changed since this revision (HEAD)")
    found = reached(changed_files(parser.parse_args().base))
    for line in ["tests"] if found == all_tests() else found:
        print(line)


def _git(*arguments):
    command = ["git", "-c", "core.quotePath=off", *arguments]
    return {Path(line) for line in subprocess.check_output(command, cwd=ROOT, text=True).splitlines()}


@cache
def _node(path):
    """The dotted name of a module, as an import has it; any other file is itself."""
    parts = path.with_suffix("").parts[path.parts[0] == "tests" :]
    return ".".join(parts).removesuffix(".__init__") if path.suffix == ".py" else path


@cache
def _users():
    """For each node who uses it directly. A module is a name and uses its file; a file is a path."""
    files = {path for path in _git("ls-files", "-co", "--exclude-standard") if (ROOT / path).exists()}
    modules = {_node(path): _Module(path) for path in files if path.suffix == ".py"}
    by_name = {path for path in files if path.suffix != ".py" or path.parts[0] not in (*PACKAGES, "tests")}
    imports = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    users = defaultdict(set)
    for name, module in modules.items():
        used = {_node(path) for path in by_name for file in module.files if fnmatchcase(path.name, file)}
        used |= {module.path} | module.above(modules)
        if name in imports.modules:
            used |= imports.find_modules_directly_imported_by(name) | module.chosen(modules)
        else:
            used |= module.named(modules)
        for node in used:
            users[node].add(name)
    for test, used in UNSAID.items():
        users[_node(Path(used))].add(_node(Path(test)))
    return users


class _Module:
    """One Python file: its methods give the nodes that it uses."""

    def __init__(self, path):
        self.path, self.text = path, (ROOT / path).read_text()
        self.imports, self.strings, self.asks = [], set(), set()
        for part in ast.walk(tree := ast.parse(self.text)):
            match part:
                case ast.Import(names=names):
                    self.imports += [alias.name for alias in names]
                case ast.ImportFrom(module=module, names=names):
                    self.imports += [f"{module}.{alias.name}" for alias in names]
                case ast.Constant(value=str(string)):
                    self.strings.add(string)
                case ast.JoinedStr(values=texts):
                    self.strings.add(
                        "".join(piece.value if isinstance(piece, ast.Constant) else "*" for piece in texts)
                    )
                case ast.arg(arg=name):
                    self.asks.add(name)
                case ast.Call(func=ast.Attribute(attr="usefixtures" | "getfixturevalue"), args=args):
                    self.asks |= {argument.value for argument in args if isinstance(argument, ast.Constant)}
        named = [node for part in tree.body for node in (part, *getattr(part, "names", ()))]
        self.offers = {getattr(node, "asname", None) or node.name for node in named if hasattr(node, "name")}
        # the last part of each string that is a path or a glob as a whole; *.py says nothing that imports do not
        whole = [re.fullmatch(r"(?:\S*/)?([\w.*-]*\.\w+)", text) for text in self.strings]
        self.files = {found[1] for found in whole if found} - {"*.py"}

    def above(self, modules):
        """Packages and each ``conftest.py`` above it, which Python and pytest run first."""
        names = [_node(folder / file) for folder in self.path.parents[:-1] for file in ("__init__.py", "conftest.py")]
        found = [modules[name] for name in names if name in modules]
        return {_node(module.path) if self.uses_all_of(module) else module.path for module in found}

    def uses_all_of(self, other):
        """False when a package loads its names on first use, and when no fixture of a ``conftest.py`` is asked for."""
        if other.path.name == "conftest.py":
            return bool(self.asks & other.offers) or "autouse" in other.text
        return "__getattr__" not in other.offers

    def chosen(self, modules):
        """All of a package of which it imports by a name that is put together: its own, or one that it names."""
        package = _node(self.path.parent / "__init__.py")
        packages = [f"{package}."] if "import_module(" in self.text else []
        packages += re.findall(r'import_module\(f"([\w.]+\.)\{', self.text)
        return {name for name in modules if name.startswith(tuple(packages))}

    def named(self, modules):
        """Modules that its ``import`` statements name, and its strings: programs for ``python -c`` and ``-m``."""
        written = re.findall(r"\b[a-z]\w*(?:\.\w+)+", "\n".join(self.strings))
        programs = {_known(name, modules) for name in written}
        return {name for name in programs if "." in name} | {_known(name, modules) for name in self.imports} - {""}


def _known(name, modules):
    """The longest beginning of a dotted name that is a module, or nothing."""
    return name if not name or name in modules else _known(name.rpartition(".")[0], modules)


if __name__ == "__main__":
    main()

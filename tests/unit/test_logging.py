"""The library's log: loggers named by module, and no handler but the command's own."""

import ast
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "lakehouse"
OF_ANOTHER_LIBRARY = (LIBRARY / "tracing/sender.py", "OTLPSpanExporter.__module__")
"""It says the same for each span that it cannot send: all but the first is left out."""

NAMES = ("addHandler", "basicConfig", "getLogger")


def calls(path):
    """The calls of such a name in a file, with what they call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in NAMES:
            yield ast.unparse(node.func), node


def test_loggers_have_the_names_of_their_modules_and_only_the_command_sets_a_handler():
    named = 0
    for path in LIBRARY.rglob("*.py"):
        for called, node in calls(path):
            if path.is_relative_to(LIBRARY / "cli"):
                continue
            assert not called.endswith((".addHandler", "logging.basicConfig")), path
            if called == "logging.getLogger":
                [name] = [ast.unparse(argument) for argument in node.args]
                assert name == "__name__" or (path, name) == OF_ANOTHER_LIBRARY, path
                named += name == "__name__"
    assert named >= 10

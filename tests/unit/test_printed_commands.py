"""Every command that an error, a check or a document names exists, with the options that are named."""

import ast
import re
from pathlib import Path

import pytest
import typer

from lakehouse.cli.main import app
from lakehouse.settings import Settings

ROOT = Path(__file__).parents[2]
_COMMAND = re.compile(r"(?<![\w/.-])((?:LAKEHOUSE_\w+=\S+ )?lakehouse [a-z][^;&|()`\n]*)")
_NO_COMMANDS = tuple(f"lakehouse {word} " for word in ("import", "or", "was", "needs", "is", "never"))


def text_of(node):
    """A string as it will be printed, with X for what is filled in; None for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "X" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return "".join(text_of(side) or " X " for side in (node.left, node.right))
    if isinstance(node, ast.IfExp):
        return " ; ".join(filter(None, (text_of(node.body), text_of(node.orelse))))
    return None


def printed():
    """Place and text of everything that may name a command."""
    for folder in ("lakehouse", "assets", "resources"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            for node in ast.walk(ast.parse(source)) if _COMMAND.search(source) else ():
                for child in ast.iter_child_nodes(node):
                    text = text_of(child) if not isinstance(node, ast.Expr | ast.JoinedStr | ast.BinOp) else None
                    if text:
                        yield f"{path.relative_to(ROOT)}:{child.lineno}", text
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for quoted in re.findall(r"`([^`]+)`", line) or [line]:
                yield f"{path.relative_to(ROOT)}:{number}", quoted


def commands():
    for place, text in printed():
        for found in _COMMAND.finditer(text):
            command = found.group(1).strip().rstrip(".,:")
            if command.startswith(_NO_COMMANDS):
                continue
            yield place, command


COMMANDS = sorted(set(commands()))
LAKEHOUSE = typer.main.get_command(app)


def test_there_are_commands_to_look_at():
    assert len(COMMANDS) > 100
    assert any("forget" in command and "--already-removed" in command for _, command in COMMANDS)


@pytest.mark.parametrize(("place", "command"), COMMANDS, ids=[f"{place} {command}" for place, command in COMMANDS])
def test_a_printed_command_exists(place, command):
    words = [re.sub(r"(?<=[a-z])X$", "", word.rstrip(",")) for word in command.split("   ")[0].split()]
    while "=" in words[0]:
        name = words.pop(0).split("=")[0].removeprefix("LAKEHOUSE_").lower()
        assert name in Settings.model_fields, place
    found, words = LAKEHOUSE, words[1:]
    while hasattr(found, "commands") and (words or found.name is None):
        assert words and words[0] in found.commands, f"{place}: no command {command}"
        found, words = found.commands[words[0]], words[1:]
    if found.context_settings.get("ignore_unknown_options"):
        return  # it hands them on
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }
    named = [word.split("=")[0] for word in words if word.startswith("--")]
    assert set(named) <= known, f"{place}: {command}"

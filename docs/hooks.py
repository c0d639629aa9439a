"""Hooks of mkdocs: write the reference from the code, and add the specification."""

from __future__ import annotations

import ast
import html
import inspect
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from types import FunctionType

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import dibundle
from dibundle.cli.environment import FILES, VARIABLES
from dibundle.cli.error_codes import every
from dibundle.cli.exit_codes import EXIT_CODES
from dibundle.cli.main import main
from dibundle.cli.man import every_command

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "spec" / "json"
SPECIFICATION = ("dib", "profile", "cover", "deflate", "zstd", "relink", "unpack", "vcdiff")
MADE_OF = {
    "dibundle/cli/main.py": "reference/commands.md",
    "dibundle/cli/exit_codes.py": "reference/exit-codes.md",
    "dibundle/cli/environment.py": "reference/environment.md",
    "dibundle/cli/error_codes.py": "reference/error-codes.md",
    "dibundle/api.py": "reference/python.md",
    "spec/json/README.md": "reference/json.md",
    **{f"spec/{name}.md": f"spec/{name}.md" for name in SPECIFICATION},
}
"""Pages by their source file. Files in this folder link to the source file, so links also work without a site."""
LINK = re.compile(r"\[([^]]+)\]\(([^)#]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/commands.md": commands(),
        "reference/environment.md": environment(),
        "reference/error-codes.md": error_codes(),
        "reference/exit-codes.md": exit_codes(),
        "reference/json.md": documents(),
        "reference/python.md": functions(),
        **{f"spec/{name}.md": [specification(name)] for name in SPECIFICATION},
    }
    for path, lines in pages.items():
        files.append(File.generated(config, path, content="\n".join(lines) + "\n"))
    for path in sorted(SCHEMAS.glob("*.json")):
        files.append(File.generated(config, f"reference/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change links to a page's source file into links to the page."""
    here = PurePosixPath(page.file.src_uri).parent

    def link(found: re.Match[str]) -> str:
        made = MADE_OF.get(posixpath.normpath(posixpath.join("docs", here, found[2])))
        return f"[{found[1]}]({posixpath.relpath(made, here)})" if made else found[0]

    return LINK.sub(link, markdown)


def commands() -> Iterator[str]:
    """Yield the page of commands; its source is the same as that of ``--help`` and the manual pages."""
    yield "# Commands"
    yield ""
    yield "This page, `dib COMMAND --help` and the manual pages (`man dib-COMMAND`) are made from one source."
    for context in every_command():
        command = context.command
        if command is main:
            continue
        yield from ("", f"## {context.command_path}", "", "```text")
        yield " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield from ("```", "")
        yield from paragraphs(command.help or "")
        yield from ("| option | what it does |", "|---|---|")
        for option in command.get_params(context):
            record = option.get_help_record(context)
            if isinstance(option, click.Option) and record:
                yield f"| {code(record[0])} | {cell(record[1])} |"


def paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs of a command's text; indented ones are examples."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = [line for line in paragraph.splitlines() if line.strip() != "\b"]
        if lines[0].startswith("    "):
            yield from ("```text", *(line[4:] for line in lines), "```", "")
        else:
            yield from (*(html.escape(line, quote=False) for line in lines), "")


def exit_codes() -> Iterator[str]:
    """Yield the page of exit codes."""
    yield from ("# Exit codes", "", "| code | meaning |", "|---|---|")
    yield from (f"| {number} | {cell(text)} |" for number, text in EXIT_CODES)
    yield ""
    yield "`dib load` ends with the loader's own code where the loader fails. With `--json` the code is the same, and"
    yield "the document on stdout has the [code of the error](error-codes.md): see [JSON](json.md)."


def environment() -> Iterator[str]:
    """Yield the page of environment variables and files."""
    yield from ("# Environment and files", "", "| variable | meaning |", "|---|---|")
    yield from (f"| {code(name)} | {cell(text)} |" for name, text in VARIABLES)
    yield from ("", "| file | meaning |", "|---|---|")
    yield from (f"| {code(name)} | {cell(text)} |" for name, text in FILES)


def error_codes() -> Iterator[str]:
    """Yield the page of error codes: every text and hint of an error, from the tables in the code."""
    yield from ("# Error codes", "")
    yield "Each error has a code, which stays the same when its words change. With `--json` stdout has it; in Python it"
    yield "is `error.code`. Fields of a text are in braces; programs are named as they are called."
    yield ""
    yield from ("| code | message | hint |", "|---|---|---|")
    seen = set()
    for _, _, message in every():
        if message not in seen:
            seen.add(message)
            yield f"| {code(message.code)} | {cell(message.text)} | {cell(message.hint or '')} |"


def documents() -> Iterator[str]:
    """Yield the page of JSON documents: the README of the schemas, then each schema's members."""
    yield from plain((SCHEMAS / "README.md").read_text(), ()).splitlines()
    common = json.loads((SCHEMAS / "dib.common-1.json").read_text())["$defs"]
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text())
        members = common if "common" in path.name else schema.get("properties", {})
        yield from ("", f"## {path.stem}", "", f"{schema.get('title', '')}: [{path.name}]({path.name})", "")
        if not members:
            continue
        yield from ("| member | kind | always there | what it is |", "|---|---|---|---|")
        for name, member in members.items():
            always = "yes" if name in schema.get("required", ()) else ""
            yield f"| {code(name)} | {cell(kind(member))} | {always} | {cell(member.get('description', ''))} |"


def kind(member: dict[str, object]) -> str:
    """Return the type of a schema's member in a word."""
    if "$ref" in member:
        return str(member["$ref"]).rpartition("/")[2]
    if "const" in member or "enum" in member:
        return json.dumps(member.get("const", member.get("enum")))
    several = member.get("anyOf") or member.get("oneOf")
    if isinstance(several, list):
        return " or ".join(kind(item) for item in several)
    told = member.get("type", "")
    words = [str(item) for item in told] if isinstance(told, list) else [str(told)]
    items = member.get("items")
    if isinstance(items, dict) and kind(items):
        words.append(f"of {kind(items)}")
    return " ".join(words)


def functions() -> Iterator[str]:
    """Yield the page of the Python interface, from the signatures and docstrings."""
    yield from ("# Python", "")
    yield from ("The public names are those of `dibundle` itself. The package is typed (`py.typed`).", "")
    yield from ("```python", (ROOT / "docs" / "example.py").read_text().rstrip(), "```", "")
    yield from (
        "Processes can share the work. Where they are not forked (`spawn`, `forkserver`) the `if` is needed:",
        "",
    )
    yield from ("```python", (ROOT / "docs" / "processes.py").read_text().rstrip(), "```", "")
    yield prose(inspect.cleandoc(dibundle.__doc__ or "").rpartition("\n\n")[2])
    shown = examples()
    for name in sorted(dibundle.__all__, key=lambda name: (not inspect.isfunction(getattr(dibundle, name)), name)):
        value = getattr(dibundle, name)
        yield from ("", f"## {name}", "")
        if isinstance(value, FunctionType):
            yield from signature(name, value)
            yield from ("```python", shown[name], "```")
        elif isinstance(value, type):
            yield from (prose(inspect.getdoc(value) or ""), "")
            yield from attributes(value)
        else:
            yield from ("A path as `str` or `os.PathLike`, or a binary file that is open for reading.", "")


def examples() -> dict[str, str]:
    """Return the example of each function; tests run these examples."""
    found = ast.parse((ROOT / "docs" / "examples.py").read_text())
    return {
        node.name: "\n".join(ast.unparse(line) for line in node.body)
        for node in found.body
        if isinstance(node, ast.FunctionDef)
    }


def signature(name: str, function: FunctionType) -> Iterator[str]:
    """Yield a function's signature, one parameter per line, and its docstring."""
    told = inspect.signature(function)
    before = False
    yield from ("```text", f"{name}(")
    for parameter in told.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not before:
            before = True
            yield "    *,"
        if parameter.name != "self":
            yield f"    {parameter},".replace("'", "")
    yield from (f") -> {told.return_annotation}", "```", "", prose(inspect.getdoc(function) or ""), "")


def attributes(value: type) -> Iterator[str]:
    """Yield the public members of a class that have a docstring, and the fields of a dataclass."""
    fields = inspect.get_annotations(value) if hasattr(value, "__dataclass_fields__") else {}
    if fields:
        yield from ("| field | type |", "|---|---|")
        yield from (f"| {code(item)} | {code(str(note))} |" for item, note in fields.items())
        yield ""
    for item, member in vars(value).items():
        text = inspect.getdoc(member) if isinstance(member, property | FunctionType) else None
        if item.startswith("_") or not text:
            continue
        if isinstance(member, FunctionType):
            yield from (f"### {value.__name__}.{item}", "", *signature(item, member))
        else:
            returned = inspect.signature(member.fget).return_annotation if isinstance(member, property) else ""
            yield from (f"### {value.__name__}.{item}", "", f"`{returned}`: {prose(text)}", "")


def specification(name: str) -> str:
    """Return a page of the specification; links to files outside of the specification become plain text."""
    return plain((ROOT / "spec" / f"{name}.md").read_text(), {f"{item}.md" for item in SPECIFICATION})


def plain(text: str, there: Iterable[str]) -> str:
    """Return Markdown; links stay only if they lead to pages in ``there`` or to the web."""
    kept = set(there)

    def link(found: re.Match[str]) -> str:
        return found[0] if found[2] in kept or "://" in found[2] else found[1]

    return LINK.sub(link, text)


def prose(text: str) -> str:
    """Return a docstring as Markdown."""
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("``", "`")


def code(text: str) -> str:
    """Return text as code in a cell."""
    return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace(" [", " \\[")

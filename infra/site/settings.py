"""Pages of commands: what each says of itself, and its settings, from its config class."""

import inspect
import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from noise2map_core.cli.application import ALIASES
from noise2map_core.settings.reading import iter_settings, section_of
from noise2map_core.workflows.launch import Command, find_applications, find_tools
from noise2map_core.workflows.run_nightly import AreaConfig

HEAD = "| setting | type | default | |\n| --- | --- | --- | --- |"
ITEMS = {"run-nightly": ("areas", AreaConfig)}
"""Of commands with a list of sections: its name, and the class of one."""
ENDS = {"minimum": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ ", "exclusiveMaximum": "< "}


def command_pages() -> Iterator[tuple[str, str]]:
    """Name and page of every command, in the order of the work."""
    for command in (*find_applications(), *find_tools()):
        yield command.name, _page(command)


def commands_table() -> str:
    """All commands, with what they say of themselves in a line."""
    rows = [
        f"| [`{command.name}`](commands/{command.name}.md) | {command.summary} |"
        for command in (*find_applications(), *find_tools())
    ]
    return stacked("\n".join(["| command | |", "| --- | --- |", *rows]))


def _page(command: Command) -> str:
    workflow = command.workflow
    operands = "".join(f" [{name.upper()}]" for name in workflow.operands)
    parts = [
        f"# {command.name}",
        command.docstring,
        f"```\nnoise2map {command.name}{operands} [CONFIG.yaml] [--flags]\n```",
        "A setting is a key of the YAML file, by its path, and a flag of the same name.",
        *_short_flags(workflow.config),
        *_sections(workflow.config),
    ]
    if command.name in ITEMS:
        name, config = ITEMS[command.name]
        parts += [f"## Each of `{name}`", inspect.getdoc(config) or "", *_sections(config, "###")]
    return "\n\n".join(parts) + "\n"


def _short_flags(config: type[BaseModel]) -> list[str]:
    paths = {setting.path for setting in iter_settings(config)}
    short = [
        f"`--{alias}` is `--{path}`"
        for alias, path in ALIASES.items()
        if path in paths and alias not in paths
    ]
    return ["Short flags: " + ", ".join(short) + "."] if short else []


def _sections(config: type[BaseModel], level: str = "##") -> Iterator[str]:
    """The settings of the root, then those of each section."""
    fields = config.model_fields
    plain = {name: one for name, one in fields.items() if section_of(one.annotation) is None}
    if plain:
        yield f"{level} Settings"
        yield _table((name, one) for name, one in plain.items())
    for name, one in fields.items():
        section = section_of(one.annotation)
        if section:
            yield f"{level} `{name}`"
            yield one.description or ""
            found = iter_settings(section, f"{name}.")
            yield _table((setting.path, setting.field) for setting in found)


def _table(settings: Iterator[tuple[str, FieldInfo]]) -> str:
    rows = [
        f"| `{path}` | {_cell(type_text(one))} | {_cell(_default(one))} | "
        f"{_cell(one.description or '')} |"
        for path, one in settings
    ]
    return stacked("\n".join([HEAD, *rows]), "settings")


def stacked(table: str, *classes: str) -> str:
    """A table of which, on a phone, each row is a paragraph (docs/style.css)."""
    return f'<div class="{" ".join(("stacked", *classes))}" markdown>\n\n{table}\n\n</div>'


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _default(one: FieldInfo) -> str:
    if one.is_required():
        return "*required*"
    value = one.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "–"
    plain = TypeAdapter(Any).dump_python(value, mode="json")
    return f"`{plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)}`"


def type_text(one: FieldInfo) -> str:
    """What a setting may be: "integer, > 0, ≤ 1,000,000"."""
    kind: Any = one.annotation
    for constraint in one.metadata:
        kind = Annotated[kind, constraint]
    schema = TypeAdapter(kind).json_schema()
    return _said(schema, schema.get("$defs", {}))


def _said(schema: dict[str, Any], known: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _said(known[schema["$ref"].rsplit("/", 1)[1]], known)
    if "anyOf" in schema or "oneOf" in schema:
        parts = [_said(part, known) for part in schema.get("anyOf") or schema["oneOf"]]
        return " or ".join(dict.fromkeys(part for part in parts if part != "null"))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if not schema or schema.get("format") == "path":
        return "path or address" if not schema else "path"
    if schema["type"] == "array":
        return _list(schema, known)
    if schema["type"] == "object":
        return "mapping"
    word = {"string": schema.get("format", "text"), "boolean": "yes or no"}
    return ", ".join([word.get(schema["type"], schema["type"]), *_range(schema)])


def _list(schema: dict[str, Any], known: dict[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} × {_said(schema['prefixItems'][0], known)}"
    return f"list of {_said(schema.get('items', {}), known)}"


def _range(schema: dict[str, Any]) -> list[str]:
    ends = {sign: schema[name] for name, sign in ENDS.items() if name in schema}
    return [f"{sign}{end:,}".removesuffix(".0") for sign, end in ends.items()]

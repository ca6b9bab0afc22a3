"""Forms of QGIS: what may be filled into which column, kept in the style of a layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.etree import ElementTree as Xml

from noise2map_core.products.styles.qml import PolygonStyle, document

NULL = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"
"""What QGIS takes for no value in a drop-down."""
NOT_NULL, EXPRESSION = 1, 4
"""Bits of constraints."""
HARD = "1"
"""A strength: what does not fit is not saved. (2 only warns.)"""


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a form."""

    name: str
    choices: tuple[str, ...] = ()
    """What a drop-down offers; empty: any text is taken."""
    editable: bool = True
    required: bool = False
    """Features are not saved without it, nor with a value that is none of the choices."""
    alias: str = ""
    """What the form calls it; empty: its name."""


def with_form(style: PolygonStyle, fields: Sequence[Field]) -> PolygonStyle:
    """A style whose layer has this form, besides."""
    root = Xml.fromstring(style.qml.partition("\n")[2])
    root.set("styleCategories", "Symbology|Fields|Forms")
    widgets = Xml.SubElement(root, "fieldConfiguration")
    for field in fields:
        if field.choices:
            _add_choices(widgets, field)
    _add_aliases(root, fields)
    _add_constraints(root, fields)
    editable = Xml.SubElement(root, "editable")
    for field in fields:
        Xml.SubElement(editable, "field", name=field.name, editable=str(int(field.editable)))
    Xml.SubElement(root, "editorlayout").text = "generatedlayout"
    return replace(style, qml=document(root))


def _add_choices(widgets: Xml.Element, field: Field) -> None:
    place = Xml.SubElement(widgets, "field", name=field.name, configurationFlags="None")
    widget = Xml.SubElement(place, "editWidget", type="ValueMap")
    options = Xml.SubElement(Xml.SubElement(widget, "config"), "Option", type="Map")
    choices = Xml.SubElement(options, "Option", name="map", type="List")
    nothing = () if field.required else (("", NULL),)
    for shown, value in (*nothing, *((value, value) for value in field.choices)):
        choice = Xml.SubElement(choices, "Option", type="Map")
        Xml.SubElement(choice, "Option", name=shown, type="QString", value=value)


def _add_aliases(root: Xml.Element, fields: Sequence[Field]) -> None:
    aliases = Xml.SubElement(root, "aliases")
    for field in fields:
        if field.alias:
            Xml.SubElement(aliases, "alias", field=field.name, index="-1", name=field.alias)


def _add_constraints(root: Xml.Element, fields: Sequence[Field]) -> None:
    constraints = Xml.SubElement(root, "constraints")
    expressions = Xml.SubElement(root, "constraintExpressions")
    for field in fields:
        if not field.required:
            continue
        one_of = bool(field.choices)
        Xml.SubElement(
            constraints, "constraint", field=field.name,
            constraints=str(NOT_NULL | (EXPRESSION if one_of else 0)), notnull_strength=HARD,
            unique_strength="0", exp_strength=HARD if one_of else "0",
        )  # fmt: skip
        if one_of:
            listed = ", ".join("'" + value.replace("'", "''") + "'" for value in field.choices)
            Xml.SubElement(
                expressions, "constraint", field=field.name, exp=f'"{field.name}" IN ({listed})',
                desc=f"one of: {', '.join(field.choices)}",
            )  # fmt: skip

"""The style of the polygons for QGIS (QML)."""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Xml

OUTLINE = "0.3"
"""Millimetres."""


def polygon_style(
    colors: Mapping[Any, str], names: Mapping[Any, str], column: str = "class"
) -> str:
    """A QML document: one translucent symbol a value, chosen by `column`."""
    root = Xml.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = Xml.SubElement(root, "renderer-v2", type="categorizedSymbol", attr=column)
    categories = Xml.SubElement(renderer, "categories")
    symbols = Xml.SubElement(renderer, "symbols")
    for number, (value, name) in enumerate(names.items()):
        Xml.SubElement(
            categories, "category", value=str(value), label=name, symbol=str(number), render="true"
        )
        _add_symbol(symbols, str(number), colors[value])
    return document(root)


def document(root: Xml.Element) -> str:
    """The text of a QML document."""
    return "<!DOCTYPE qgis>\n" + Xml.tostring(root, encoding="unicode")


def _add_symbol(symbols: Xml.Element, name: str, color: str) -> None:
    symbol = Xml.SubElement(symbols, "symbol", type="fill", name=name, alpha="1")
    layer = Xml.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    options = Xml.SubElement(layer, "Option", type="Map")
    for key, value in {
        "color": f"{red},{green},{blue},90",
        "outline_color": f"{red},{green},{blue},255",
        "outline_width": OUTLINE,
        "outline_width_unit": "MM",
        "style": "solid",
    }.items():
        Xml.SubElement(options, "Option", name=key, type="QString", value=value)

"""Styles of polygons for QGIS (QML), and with them those for others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as Xml

from noise2map_core.products.styles.sld import polygon_sld

OUTLINE = "0.3"
"""Millimetres."""


@dataclass(frozen=True, slots=True)
class PolygonStyle:
    """How a layer of polygons is drawn."""

    qml: str
    sld: str


def polygon_style(
    layer: str, colors: Mapping[Any, str], names: Mapping[Any, str], column: str = "class"
) -> PolygonStyle:
    """One translucent symbol a value of `column`, called by its name."""
    return PolygonStyle(
        polygon_qml(colors, names, column), polygon_sld(layer, colors, names, column)
    )


def polygon_qml(colors: Mapping[Any, str], names: Mapping[Any, str], column: str = "class") -> str:
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

"""Styles of polygons and points for QGIS (QML), and with them those for others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.etree import ElementTree as Xml

from noise2map_core.products.styles.sld import point_sld, polygon_sld

OUTLINE, POINT = "0.3", "4"
"""Millimetres."""


@dataclass(frozen=True, slots=True)
class PolygonStyle:
    """How a layer of polygons or points is drawn."""

    qml: str
    sld: str


def polygon_style(
    layer: str, colors: Mapping[Any, str], names: Mapping[Any, str], column: str = "class"
) -> PolygonStyle:
    """One translucent symbol a value of `column`, called by its name."""
    return PolygonStyle(
        polygon_qml(colors, names, column), polygon_sld(layer, colors, names, column)
    )


def point_style(
    layer: str, colors: Mapping[Any, str], names: Mapping[Any, str], column: str
) -> PolygonStyle:
    """One ring a value of `column`, which hides nothing, called by its name."""
    return PolygonStyle(
        _qml(colors, names, column, _add_ring), point_sld(layer, colors, names, column)
    )


def outline_style(layer: str, color: str, name: str, column: str) -> PolygonStyle:
    """Of one polygon, whose `column` holds `name`: what lies within is not drawn over."""
    colors, names = {name: color}, {name: name}
    return PolygonStyle(
        _qml(colors, names, column, _add_outline),
        polygon_sld(layer, colors, names, column, opacity="0"),
    )


def polygon_qml(colors: Mapping[Any, str], names: Mapping[Any, str], column: str = "class") -> str:
    """A QML document: one translucent symbol a value, chosen by `column`."""
    return _qml(colors, names, column, _add_symbol)


def _qml(
    colors: Mapping[Any, str],
    names: Mapping[Any, str],
    column: str,
    add: Callable[[Xml.Element, str, str], None],
) -> str:
    root = Xml.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = Xml.SubElement(root, "renderer-v2", type="categorizedSymbol", attr=column)
    categories = Xml.SubElement(renderer, "categories")
    symbols = Xml.SubElement(renderer, "symbols")
    for number, (value, name) in enumerate(names.items()):
        Xml.SubElement(
            categories, "category", value=str(value), label=name, symbol=str(number), render="true"
        )
        add(symbols, str(number), colors[value])
    return document(root)


def document(root: Xml.Element) -> str:
    """The text of a QML document."""
    return "<!DOCTYPE qgis>\n" + Xml.tostring(root, encoding="unicode")


def _add_symbol(
    symbols: Xml.Element, name: str, color: str, *, opacity: int = 90, width: str = OUTLINE
) -> None:
    color = _numbers(color)
    _add(symbols, name, "fill", "SimpleFill", {
        "color": f"{color},{opacity}", "outline_color": f"{color},255", "outline_width": width,
        "outline_width_unit": "MM", "style": "solid" if opacity else "no",
    })  # fmt: skip


_add_outline = partial(_add_symbol, opacity=0, width="0.6")


def _add_ring(symbols: Xml.Element, name: str, color: str) -> None:
    _add(symbols, name, "marker", "SimpleMarker", {
        "name": "circle", "color": "0,0,0,0", "outline_color": f"{_numbers(color)},255",
        "outline_width": "0.8", "outline_width_unit": "MM", "size": POINT, "size_unit": "MM",
    })  # fmt: skip


def _numbers(color: str) -> str:
    """#rrggbb as red,green,blue."""
    return ",".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))


def _add(symbols: Xml.Element, name: str, kind: str, drawn: str, options: dict[str, str]) -> None:
    symbol = Xml.SubElement(symbols, "symbol", type=kind, name=name, alpha="1")
    layer = Xml.SubElement(symbol, "layer", {"class": drawn, "enabled": "1"})
    told = Xml.SubElement(layer, "Option", type="Map")
    for key, value in options.items():
        Xml.SubElement(told, "Option", name=key, type="QString", value=value)

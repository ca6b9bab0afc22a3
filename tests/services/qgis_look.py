"""What QGIS makes of files opened as people do, as JSON. For the Python of Debian's QGIS.

/usr/bin/python3 qgis_look.py FOLDER FILE...: each layer is drawn to FOLDER over green.
"""

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

GREEN = "#00ff00"
SIDE_PX = 400


def main(folder: str, *files: str) -> None:
    application = QgsApplication([], False)
    application.initQgis()
    found: dict[str, Any] = {}
    number = 0
    for file in files:
        for layer in layers_of(file):
            found[layer.name()] = looked_at(layer, Path(folder) / f"{number:02d}.png")
            number += 1
    print(json.dumps(found))
    del layer  # QGIS ends badly while there are layers
    application.exitQgis()


def looked_at(layer: Any, picture: Path) -> dict[str, Any]:
    """What it is and looks like; of polygons also by the SLD that lies in their file."""
    found = {
        "valid": layer.isValid(), "crs": layer.crs().authid(), **styled(layer),
        **drawn(layer, picture),
    }  # fmt: skip
    if isinstance(layer, QgsVectorLayer):
        found["by_sld"] = by_sld(layer, picture)
        found["form"] = form_of(layer)
    return found


def form_of(layer: Any) -> dict[str, Any]:
    """By column: widget, choices by what is shown, whether it may be written, and what is said of
    some values: no errors, and the form saves them."""
    fields, found = layer.fields(), {}
    for number in range(fields.count()):
        setup = layer.editorWidgetSetup(number)
        choices = [pair for one in setup.config().get("map", []) for pair in one.items()]
        feature = QgsVectorLayerUtils.createFeature(layer)
        said = {}
        for value in (None, "nonsense", *(stored for _, stored in choices)):
            feature.setAttribute(number, value)
            said[str(value)] = QgsVectorLayerUtils.validateAttribute(layer, feature, number)[1]
        found[fields.at(number).name()] = {
            "widget": setup.type(), "choices": choices, "alias": layer.attributeAlias(number),
            "editable": not layer.editFormConfig().readOnly(number), "said": said,
        }  # fmt: skip
    return found


def by_sld(layer: Any, picture: Path) -> dict[str, Any]:
    file, _, name = layer.source().partition("|layername=")
    with sqlite3.connect(file) as database:
        (text,) = database.execute(
            "SELECT styleSLD FROM layer_styles WHERE f_table_name = ?", [name]
        ).fetchone()
    path = picture.with_suffix(".sld")
    path.write_text(text)
    said, fine = layer.loadSldStyle(str(path))
    rules = layer.renderer().rootRule().children() if fine else []
    return {
        "said": said,
        "rules": [
            [rule.label(), rule.filterExpression(), rule.symbol().color().name()] for rule in rules
        ],
    }


def layers_of(file: str) -> list[Any]:
    path = Path(file)
    name = f"{path.parent.name}/{path.name}".replace("/", "|")
    if path.suffix == ".tif":
        return [QgsRasterLayer(file, name)]
    probe = QgsVectorLayer(file, "probe", "ogr")
    names = [one.split("!!::!!")[1] for one in probe.dataProvider().subLayers()]
    shown = [one for one in names if one != "layer_styles"]
    return [QgsVectorLayer(f"{file}|layername={one}", f"{name}|{one}", "ogr") for one in shown]


def styled(layer: Any) -> dict[str, Any]:
    """The legend: value, label, colour, opacity; of a ramp its stops."""
    renderer = layer.renderer()
    kind = renderer.type()
    if kind == "paletted":
        entries = [(one.value, one.label, one.color) for one in renderer.classes()]
    elif kind == "singlebandpseudocolor":
        stops = renderer.shader().rasterShaderFunction().colorRampItemList()
        entries = [(one.value, one.label, one.color) for one in stops]
    elif kind == "categorizedSymbol":
        entries = [(c.value(), c.label(), c.symbol().color()) for c in renderer.categories()]
    else:
        entries = []
    told = [[value, label, color.name(), color.alpha()] for value, label, color in entries]
    return {"kind": kind, "legend": told}


def drawn(layer: Any, picture: Path) -> dict[str, Any]:
    """The picture's colours and how many pixels have each; of a layer without features none."""
    if layer.extent().isEmpty():
        return {"colors": {}, "errors": []}
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setBackgroundColor(QColor(GREEN))
    settings.setOutputSize(QSize(SIDE_PX, SIDE_PX))
    settings.setExtent(layer.extent())
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    image.save(str(picture))
    counts: dict[str, int] = {}
    for x in range(0, SIDE_PX, 4):
        for y in range(0, SIDE_PX, 4):
            name = image.pixelColor(x, y).name()
            counts[name] = counts.get(name, 0) + 1
    return {"colors": counts, "errors": [one.message for one in job.errors()]}


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Show a map or an area's nights in a browser, by ranges of their files: `noise2map view OUT`.

Serves the folder to this machine alone, until Ctrl-C. With --write, the page is put into the
folder, which any web server that answers range requests can then show.
"""

import webbrowser
from dataclasses import dataclass

from noise2map_core.viewer.page import PAGE, write_viewer
from noise2map_core.viewer.server import address, build_app, listen, require_map, serve
from noise2map_core.workflows.tools.maps.view import ViewConfig


@dataclass(frozen=True)
class Viewed:
    """What was done."""

    lines: list[str]

    def summary(self) -> list[str]:
        """Lines for people."""
        return self.lines


def run(config: ViewConfig) -> Viewed:
    """Show a map until the user ends it, or write its page. Raises ConfigError and
    OutputMismatchError if there is nothing to show."""
    require_map(config.output)
    if config.write:
        write_viewer(config.output, config.basemap)
        return Viewed([f"page     {config.output / PAGE}"])
    app = build_app(config.output, config.basemap)
    with listen(config.port) as listening:
        print(f"{config.output} is at {address(listening)} until Ctrl-C", flush=True)
        if config.open:
            webbrowser.open(address(listening))
        serve(app, listening)
    return Viewed([])

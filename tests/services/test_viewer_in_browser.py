"""The viewer in a real browser: it shows what the files say, asks no other host, runs no names,
and says in words what it cannot show."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from noise2map_core.products.stac.collection import add_to_collection
from noise2map_core.viewer.page import write_viewer
from tests.services.pages import DESKTOP, PHONE
from tests.viewer_factories import write_view

pytestmark = pytest.mark.services
HOSTILE = "</script><img src=x onerror=alert(1)>\"'& Ärger"
SERVE = "from noise2map_core.cli.main import main; main()"
DRAWN_S = 120
MOST_BYTES = 5_000_000


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a map that `noise2map view` shows."""
    command = [sys.executable, "-c", SERVE, "view", str(folder), "--port", "0", "--no_open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found
            yield found[0]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_view(tmp_path_factory.mktemp("view"), 400, 4, HOSTILE)


@pytest.fixture(scope="module")
def address(output: Path) -> Iterator[str]:
    with served(output) as found:
        yield found


def opened(browser: WebDriver, address: str, size: tuple[int, int] = DESKTOP) -> WebDriver:
    """The page, once all that it shows at first is there."""
    metrics = {
        "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE,
    }  # fmt: skip
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")
    browser.get_log("browser"), browser.get_log("performance")  # forget what was before
    browser.get(address)
    wait(browser, lambda: browser.execute_script(
        "return performance.getEntriesByName('picture').length"))  # fmt: skip
    return browser


def wait(browser: WebDriver, until: Callable[[], Any]) -> Any:
    return WebDriverWait(browser, DRAWN_S, 0.05).until(lambda _: until())


def asked(browser: WebDriver) -> tuple[set[str], int]:
    """Hosts that were asked, and bytes that came, since the page was opened."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent"
    ]
    hosts = {"/".join(url.split("/")[:3]) for url in urls if url.startswith(("http", "ws"))}
    ended = [one["params"] for one in messages if one["method"] == "Network.loadingFinished"]
    return hosts, sum(one["encodedDataLength"] for one in ended)


def pixel_of(browser: WebDriver, place: tuple[float, float]) -> list[float]:
    """Where a place of the map's CRS lies in the window."""
    found: list[float] = browser.execute_script(
        """const box = document.getElementById("map").getBoundingClientRect();
        const [x, y] = map.getPixelFromCoordinate(arguments[0]);
        return [box.left + x, box.top + y]""",
        list(place),
    )
    return found


def place_at(browser: WebDriver, pixel: list[float]) -> list[float]:
    """The place of the map's CRS that lies there."""
    found: list[float] = browser.execute_script(
        """const box = document.getElementById("map").getBoundingClientRect();
        const [x, y] = arguments[0];
        return map.getCoordinateFromPixel([x - box.left, y - box.top])""",
        pixel,
    )
    return found


def click(browser: WebDriver, x: float, y: float) -> dict[str, str]:
    """What the page says of a place of the window, by name."""
    action = ActionChains(browser)
    action.w3c_actions.pointer_action.move_to_location(x, y).click()
    browser.execute_script("clearFacts()")
    action.perform()
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#facts dd"))
    return {
        name.text: text.text
        for name, text in zip(
            browser.find_elements(By.CSS_SELECTOR, "#facts dt"),
            browser.find_elements(By.CSS_SELECTOR, "#facts dd"), strict=True,
        )
    }  # fmt: skip


def color_at(browser: WebDriver, layer: str, place: tuple[float, float]) -> list[int]:
    """RGBA that a layer has at a place."""
    found: list[int] = browser.execute_script(
        """map.renderSync();
        const canvas = document.querySelector("canvas." + arguments[0])
          ?? document.querySelector("." + arguments[0] + " canvas");
        const [x, y] = map.getPixelFromCoordinate(arguments[1]).map(Math.round);
        return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data]""",
        layer, list(place),
    )  # fmt: skip
    return found


def middle_of_a_block(values: np.ndarray, wanted: Any) -> tuple[int, int]:
    """Row and column in the middle of 5² pixels for which `wanted` holds, off the middle column,
    where the divider stands."""
    held = np.asarray(wanted(values))
    blocks = np.lib.stride_tricks.sliding_window_view(held, (5, 5)).all(axis=(2, 3))
    blocks[:, blocks.shape[1] // 2 - 30 : blocks.shape[1] // 2 + 30] = False
    row, col = np.argwhere(blocks)[len(np.argwhere(blocks)) // 2]
    return int(row) + 2, int(col) + 2


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_says_no_error_asks_no_other_host_and_does_not_scroll_sideways(
    browser: WebDriver, address: str, size: tuple[int, int]
) -> None:
    opened(browser, address, size)
    assert browser.get_log("browser") == []
    assert asked(browser)[0] == {address.rpartition("/")[0]}
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= size[0]
    assert not browser.find_elements(By.CSS_SELECTOR, ".problem")


def test_names_stay_text(browser: WebDriver, address: str) -> None:
    opened(browser, address)
    assert HOSTILE in browser.find_element(By.ID, "title").text
    assert browser.title.startswith(HOSTILE)
    assert not browser.find_elements(By.CSS_SELECTOR, "img[src='x']")


def test_a_click_says_the_numbers_that_the_files_have(
    browser: WebDriver, address: str, output: Path
) -> None:
    opened(browser, address)
    polygons = gpd.read_parquet(output / "polygons.parquet")
    largest = polygons.sort_values("area_m2").iloc[-1]
    place = largest.geometry.buffer(-15).representative_point()
    browser.find_element(By.ID, "show-probability").click()
    wait(browser, lambda: browser.execute_script(
        "return Boolean(layers.find((one) => one.key === 'probability').cog)"))  # fmt: skip
    pixel = [round(side) for side in pixel_of(browser, (place.x, place.y))]
    said = click(browser, *pixel)
    with rasterio.open(output / "probability.tif") as file:
        stored = next(file.sample([place_at(browser, pixel)]))[0] * file.scales[0]
    assert said["polygon id"] == largest["polygon_id"]
    assert said["area"] == f"{float(f'{largest.area_m2:.4g}'):,.7g} m²"
    assert said["Change map"] == "changed"
    assert said["Why a pixel has no decision"] == "decided"
    shown = next(text for name, text in said.items() if name.startswith("Probability of"))
    assert float(shown.removesuffix(" %")) == pytest.approx(100 * stored, abs=0.01)


def test_rasters_have_the_colours_of_their_numbers_where_they_lie(
    browser: WebDriver, address: str, output: Path
) -> None:
    opened(browser, address)
    with rasterio.open(output / "change.tif") as file:
        classes = file.read(1)
        changed, same = (
            file.xy(*middle_of_a_block(classes, lambda all, value=value: all == value))
            for value in (1, 0)
        )
    with rasterio.open(output / "reason.tif") as file:
        cloudy = file.xy(*middle_of_a_block(file.read(1), lambda all: all == 4))
    assert color_at(browser, "raster-change", changed) == [0xD7, 0x19, 0x1C, 255]
    assert color_at(browser, "raster-change", same)[3] == 0
    assert color_at(browser, "raster-reason", cloudy) == [0x2B, 0x83, 0xBA, 255]
    toggle = browser.find_elements(By.CSS_SELECTOR, "#entry-change .classes input")[1]
    toggle.click()
    wait(browser, lambda: color_at(browser, "raster-change", changed)[3] == 0)


def test_the_threshold_hides_what_is_less_probable(
    browser: WebDriver, address: str, output: Path
) -> None:
    opened(browser, address)
    browser.find_element(By.ID, "show-probability").click()
    with rasterio.open(output / "probability.tif") as file:
        shares = file.read(1, masked=True).filled(0) * file.scales[0]
        high = file.xy(*middle_of_a_block(shares, lambda all: all >= 0.6))
        low = file.xy(*middle_of_a_block(shares, lambda all: (all > 0) & (all < 0.4)))
    wait(browser, lambda: color_at(browser, "raster-probability", high)[3] == 255)
    assert color_at(browser, "raster-probability", low)[3] == 255
    slider = browser.find_element(By.ID, "least-probability")
    slider.send_keys(*[Keys.ARROW_RIGHT] * 50)
    assert slider.get_attribute("aria-valuetext") == "50 %"
    wait(browser, lambda: color_at(browser, "raster-probability", low)[3] == 0)
    assert color_at(browser, "raster-probability", high)[3] == 255


def test_swipe_and_opacity_go_by_pointer_and_by_keys(browser: WebDriver, address: str) -> None:
    opened(browser, address)
    clip = "return getComputedStyle(document.querySelector('.photo-after')).clipPath"
    assert browser.execute_script(clip) == "inset(0px 0px 0px 50%)"
    divider = browser.find_element(By.ID, "divider")
    ActionChains(browser).drag_and_drop_by_offset(divider, 150, 0).perform()
    swipe = browser.find_element(By.ID, "swipe")
    assert float(swipe.get_property("value")) > 55  # type: ignore[arg-type]
    swipe.send_keys(Keys.END)
    assert browser.execute_script(clip) == "inset(0px 0px 0px 100%)"
    browser.find_element(By.ID, "opacity-change").send_keys(Keys.HOME)
    assert (
        browser.execute_script("return layers.find((l) => l.key === 'change').ol.getOpacity()") == 0
    )


def test_all_controls_have_names_and_are_reached_by_tab(browser: WebDriver, address: str) -> None:
    opened(browser, address)
    nameless = browser.execute_script(
        """return [...document.querySelectorAll("input, button, a, [tabindex]")].filter((one) =>
          !(one.labels?.length || one.textContent.trim() || one.ariaLabel || one.title))
          .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    body, reached = browser.find_element(By.TAG_NAME, "body"), set()
    body.click()
    for _ in range(60):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.add(browser.execute_script("return document.activeElement.id"))
    assert {"map", "swipe", "show-change", "opacity-change", "least-probability"} <= reached
    map_ = browser.find_element(By.ID, "map")
    before = browser.execute_script("return map.getView().getResolution()")
    map_.send_keys("+")
    wait(browser, lambda: browser.execute_script("return map.getView().getResolution()") < before)
    map_.send_keys(Keys.ENTER)
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#facts dd"))


def test_what_is_damaged_or_missing_is_said_and_the_rest_is_shown(
    browser: WebDriver, output: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "map"
    shutil.copytree(output, broken)
    (broken / "probability.tif").unlink()
    (broken / "reason.tif").write_bytes((output / "reason.tif").read_bytes()[:100])
    (broken / "polygons.pmtiles").write_bytes(b"no tiles" * 100)
    with served(broken) as address:
        opened(browser, address)
        browser.find_element(By.ID, "show-probability").click()
        for key in ("reason", "polygons-pmtiles", "probability"):
            selector = f"#entry-{key} .problem"
            text = wait(browser, partial(browser.find_elements, By.CSS_SELECTOR, selector))
            assert "cannot be shown: " in text[0].text
        assert not browser.find_elements(By.CSS_SELECTOR, "#entry-change .problem")
        (broken / "item.json").write_text("{")
        browser.get(address)
        notice = browser.find_element(By.ID, "notice-text")
        wait(browser, lambda: "There is no map beside this page" in notice.text)


def test_a_map_without_tiles_of_polygons_says_so(
    browser: WebDriver, output: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "map"
    shutil.copytree(output, bare)
    item = json.loads((bare / "item.json").read_text())
    for key in ("polygons-pmtiles", "probability", "before"):
        del item["assets"][key]
    (bare / "item.json").write_text(json.dumps(item))
    with served(bare) as address:
        opened(browser, address)
        assert "no tiles of polygons" in browser.find_element(By.ID, "layers").text
        assert not browser.find_element(By.ID, "swipe").is_displayed()
        assert browser.get_log("browser") == []


def test_opened_as_a_file_the_page_says_why_and_takes_the_folder(
    browser: WebDriver, output: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "map"
    shutil.copytree(output, copy)
    write_viewer(copy)
    browser.get((copy / "view.html").as_uri())
    text = browser.find_element(By.ID, "notice-text").text
    assert "noise2map view" in text and browser.find_element(By.ID, "folder").is_displayed()
    assert browser.get_log("browser") == []
    browser.find_element(By.ID, "folder").send_keys(str(copy))
    wait(browser, lambda: browser.execute_script(
        "return performance.getEntriesByName('picture').length"))  # fmt: skip
    assert not browser.find_elements(By.CSS_SELECTOR, ".problem")
    with rasterio.open(copy / "change.tif") as file:
        changed = file.xy(*middle_of_a_block(file.read(1), lambda all: all == 1))
    assert color_at(browser, "raster-change", changed) == [0xD7, 0x19, 0x1C, 255]


def test_a_slider_goes_over_the_days_of_a_collection(
    browser: WebDriver, output: Path, tmp_path: Path
) -> None:
    area = tmp_path / "area"
    days = ("2021-01-01", "2021-01-04", "2021-01-09")
    for day in days:
        folder = area / "slices" / day
        shutil.copytree(output, folder)
        item = json.loads((folder / "item.json").read_text())
        item["properties"]["title"] = day
        item["id"] += day
        (folder / "item.json").write_text(json.dumps(item))
        add_to_collection(area / "collection.json", folder / "item.json")
    with served(area) as address:
        opened(browser, address)
        said, href = browser.find_element(By.ID, "moment-text"), "return layers[0].href"
        assert said.text == "2021-01-09 (3 of 3)"
        browser.find_element(By.ID, "moment").send_keys(Keys.HOME)
        assert said.text == "2021-01-01 (1 of 3)"
        wait(browser, lambda: "2021-01-01" in browser.execute_script(href))
        browser.find_element(By.ID, "later").click()
        assert said.text == "2021-01-04 (2 of 3)"
        wait(browser, lambda: "2021-01-04" in browser.execute_script(href))
        assert browser.get_log("browser") == []
        shutil.rmtree(area / "slices" / days[0])
        browser.find_element(By.ID, "earlier").click()
        notice = browser.find_element(By.ID, "notice-text")
        wait(browser, lambda: "Of 2021-01-01 not all can be shown" in notice.text)


@pytest.mark.slow
def test_a_map_of_100_000_polygons_is_shown_with_little_data(
    browser: WebDriver, tmp_path: Path
) -> None:
    output = write_view(tmp_path / "large", 5000, 1.65)
    assert len(gpd.read_parquet(output / "polygons.parquet", columns=["geometry"])) > 90_000
    with served(output) as address:
        opened(browser, address)
        taken = browser.execute_script(
            "return performance.getEntriesByName('picture')[0].startTime"
        )
        print(f"first picture after {taken / 1000:.2f} s")
        assert browser.get_log("browser") == []
        assert asked(browser)[1] < MOST_BYTES
        box = shapely.box(*gpd.read_parquet(output / "polygons.parquet").total_bounds)
        pixel = pixel_of(browser, (box.centroid.x + 3000, box.centroid.y))
        assert click(browser, *map(round, pixel))["Change map"]

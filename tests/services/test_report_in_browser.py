"""The report in a real browser: it works, asks no network, fits a phone, and runs nobody's code."""

import csv
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from noise2map_core.nightly.outcome import AreaOutcome, NightOutcome, SliceOutcome
from noise2map_core.nightly.summary import write_summary
from noise2map_core.products.bundle import write_products
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic
from tests.services.pages import DESKTOP, PHONE, opened, require_self_contained

pytestmark = pytest.mark.services
HOSTILE = "</script><script>document.title='pwned'</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose area, scenes, classes and model bear hostile names."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "map").mkdir()
    mosaic = write_mosaic(folder / "map" / "mosaic.zarr", blobs(300, 400))
    subject = subject_of(folder / "scenes", 300, 400, name=HOSTILE)
    hostile = replace(
        subject,
        after=[replace(subject.after[0], id=HOSTILE, attribution=HOSTILE)],
        classes=[{**entry, "name": entry["name"] + HOSTILE} for entry in subject.classes],
        model={HOSTILE: HOSTILE},
    )
    write_products(mosaic, hostile, ProductsConfig())
    return folder / "map" / "report.html"


def style(browser: WebDriver, name: str, key: str) -> str:
    return str(
        browser.execute_script(
            "return getComputedStyle(document.getElementById(arguments[0]))[arguments[1]]",
            name, key,
        )
    )  # fmt: skip


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_says_no_error_asks_no_network_and_does_not_scroll_sideways(
    browser: WebDriver, report: Path, size: tuple[int, int]
) -> None:
    require_self_contained(browser, report, size, num_images=4)


def test_the_divider_moves_what_is_seen_of_the_later_image(
    browser: WebDriver, report: Path
) -> None:
    opened(browser, report, DESKTOP)
    assert style(browser, "image-after", "clipPath") == "inset(0px 0px 0px 50%)"
    divider = browser.find_element(By.ID, "divider")
    ActionChains(browser).drag_and_drop_by_offset(divider, 150, 0).perform()
    moved = float(browser.find_element(By.ID, "swipe").get_property("value"))  # type: ignore[arg-type]
    assert moved > 55
    assert style(browser, "image-after", "clipPath") == f"inset(0px 0px 0px {moved:g}%)"
    browser.find_element(By.ID, "swipe").send_keys(Keys.END)
    assert style(browser, "image-after", "clipPath") == "inset(0px 0px 0px 100%)"


def test_layers_switch_and_fade(browser: WebDriver, report: Path) -> None:
    opened(browser, report, DESKTOP)
    assert style(browser, "layer-class", "opacity") == "0.7"
    assert style(browser, "layer-probability", "display") == "none"
    browser.find_element(By.ID, "show-probability").click()
    assert style(browser, "layer-probability", "display") == "block"
    assert "probability 100 %" in browser.find_element(By.ID, "legends").text
    browser.find_element(By.ID, "opacity").send_keys(Keys.HOME)
    assert style(browser, "layer-class", "opacity") == "0"


def test_an_area_opens_by_list_and_by_click_and_shows_its_numbers(
    browser: WebDriver, report: Path
) -> None:
    opened(browser, report, DESKTOP)
    expected = browser.execute_script("return data.areas[2]")
    browser.find_elements(By.CSS_SELECTOR, "#areas-list tbody button")[2].click()
    text = browser.find_element(By.ID, "area").text
    for number in (expected["id"], f"{expected['pixels']:,}", "2020-01-01", "2021-01-01"):
        assert number in text
    assert f"{100 * expected['probability']:.1f} %" in text
    chosen = browser.find_elements(By.CSS_SELECTOR, "#outlines path.chosen")
    assert [path.get_attribute("d") for path in chosen] == [expected["path"]]
    click_inside(browser, 0)
    assert browser.execute_script("return data.areas[0].id") in (
        browser.find_element(By.ID, "area").text
    )


def test_the_list_of_areas_sorts_and_is_saved_as_it_stands(
    browser: WebDriver, report: Path, tmp_path: Path
) -> None:
    opened(browser, report, DESKTOP)
    sizes = browser.execute_script("return data.areas.map((one) => one.area_m2)")
    head = browser.find_elements(By.CSS_SELECTOR, "#areas-list thead button")[1]
    head.send_keys(Keys.ENTER)
    assert head.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    assert column(browser, "#areas-list", 1) == sorted(sizes)
    head.send_keys(Keys.SPACE)
    assert column(browser, "#areas-list", 1) == sorted(sizes, reverse=True)
    table = saved(browser, tmp_path, "areas.csv")
    assert [float(row["area_m2"]) for row in table] == sorted(sizes, reverse=True)
    assert {row["class"] for row in table} == {f"changed{HOSTILE}"}


def column(browser: WebDriver, table: str, at: int) -> list[float]:
    cells = browser.execute_script(
        "return [...document.querySelector(arguments[0]).tBodies[0].rows]"
        ".map((row) => valueOf(row.cells[arguments[1]]))",
        table, at,
    )  # fmt: skip
    return [float(cell) for cell in cells]


def saved(browser: WebDriver, folder: Path, name: str) -> list[dict[str, str]]:
    """What the page's button saves, as a program reads it."""
    behave = {"behavior": "allow", "downloadPath": str(folder)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behave)
    browser.find_element(By.ID, "areas-download").click()
    WebDriverWait(browser, 30).until(lambda _: (folder / name).exists())
    with (folder / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_nights_table_of_areas_sorts_and_is_saved(browser: WebDriver, tmp_path: Path) -> None:
    """A name that a spreadsheet would take for a formula is saved as text."""
    slices = {
        number: SliceOutcome(date(2025, 6, number), False, number, 2, 0) for number in (3, 12)
    }
    areas = [
        AreaOutcome("delta", tmp_path / "a", [slices[12]], slices[12].day),
        AreaOutcome("=1+1", tmp_path / "b", [slices[3]], slices[3].day),
        AreaOutcome("bad", error=HOSTILE, exit_code=2),
    ]
    write_summary(NightOutcome(tmp_path, areas, datetime(2025, 6, 21, tzinfo=UTC), 1.0))
    opened(browser, tmp_path / "summary.html", PHONE)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    browser.find_elements(By.CSS_SELECTOR, "#areas thead button")[4].click()
    assert column(browser, "#areas", 4) == [0, 3, 12]
    rows = saved(browser, tmp_path, "areas.csv")
    assert [row["area"] for row in rows] == ["bad", "'=1+1", "delta"]
    assert rows[0]["error"] == HOSTILE and rows[0]["status"] == "failed"


def click_inside(browser: WebDriver, at: int) -> None:
    """Click the first pixel of the preview that lies in an area and not under the divider."""
    browser.execute_script(
        """const stage = find("stage"), box = stage.getBoundingClientRect();
        const {box: [left, top, right, bottom]} = data.areas[arguments[0]];
        for (let y = top + 0.5; y < bottom; y++) for (let x = left + 0.5; x < right; x++) {
          const inside = paths[arguments[0]].isPointInFill(new DOMPoint(x, y));
          if (!inside || Math.abs(x / data.width - 0.5) < 0.1) continue;
          const scale = box.width / data.width;
          stage.dispatchEvent(new MouseEvent("click", {
            bubbles: true, clientX: box.left + x * scale, clientY: box.top + y * scale}));
          return;
        }""",
        at,
    )


def test_zoom_and_scale_bar_go_together_by_keyboard(browser: WebDriver, report: Path) -> None:
    opened(browser, report, PHONE)
    scroller = browser.find_element(By.ID, "scroller")
    width = browser.execute_script("return find('stage').offsetWidth")
    scroller.send_keys("+", "+")
    assert browser.execute_script("return find('stage').offsetWidth") == pytest.approx(
        2 * width, abs=2
    )
    bar = browser.execute_script("return find('scale-bar').getBoundingClientRect().width")
    metres, unit = browser.find_element(By.ID, "scale-text").text.split()
    metres_per_px = browser.execute_script("return data.metres_per_px * data.width") / (2 * width)
    assert float(metres) * (1000 if unit == "km" else 1) == pytest.approx(
        bar * metres_per_px, rel=0.03
    )
    scroller.send_keys("0")
    assert browser.execute_script("return find('stage').offsetWidth") == width


def test_hostile_names_stay_text(browser: WebDriver, report: Path) -> None:
    opened(browser, report, DESKTOP)
    assert browser.title.startswith(HOSTILE)
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith(HOSTILE)
    assert browser.execute_script("return document.scripts.length") == 2
    assert not browser.find_elements(By.CSS_SELECTOR, "img[src='x']")
    browser.find_elements(By.CSS_SELECTOR, "#areas-list tbody button")[0].click()
    assert f"changed{HOSTILE}" in browser.find_element(By.ID, "area").text
    assert browser.get_log("browser") == []


def test_policy_refuses_code_that_is_not_the_pages_own(browser: WebDriver, report: Path) -> None:
    opened(browser, report, DESKTOP)
    ran = browser.execute_script(
        """const script = document.createElement("script");
        script.textContent = "window.foreign = true"; document.body.append(script);
        return window.foreign === true"""
    )
    assert not ran
    assert "Content Security Policy" in str(browser.get_log("browser"))

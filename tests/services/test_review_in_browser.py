"""The page of alerts in a real browser: judged by keys alone, saved, taken in."""

import time
from pathlib import Path

import geopandas as gpd
import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from noise2map_core.alerts.settle import EVENTS, OBJECTS
from noise2map_core.alerts.tables import read_alerts, write_alerts, write_history
from noise2map_core.alerts.verdicts import VERDICTS, read_verdicts
from noise2map_core.cli.commands.nights.review import run
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.tools.nights.review import ReviewConfig
from tests.event_factories import history_of, write_verdict
from tests.review_factories import write_reviewed_area
from tests.services.pages import DESKTOP, PHONE, opened, require_self_contained
from tests.training_factories import HOSTILE

pytestmark = pytest.mark.services


@pytest.fixture
def area(tmp_path: Path, embedded: EmbeddedCatalog) -> Path:
    """Six alerts, one of which has a hostile name and a verdict with a hostile reason."""
    area = write_reviewed_area(tmp_path, embedded, embedded.train_aoi, 6)
    alerts = read_alerts(area / "alerts" / OBJECTS)
    alerts.loc[0, "object_id"] = HOSTILE
    write_alerts(area / "alerts" / OBJECTS, gpd.GeoDataFrame(alerts))
    rows = [(name, 0, "opened") for name in alerts["object_id"]]
    write_history(area / "alerts" / EVENTS, history_of(rows))
    write_verdict(area / "alerts", HOSTILE, "rejected", reason=HOSTILE)
    run(ReviewConfig(area=area))
    return area


def page(area: Path) -> Path:
    return area / "review" / "review.html"


def press(browser: WebDriver, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_says_no_error_asks_no_network_and_does_not_scroll_sideways(
    browser: WebDriver, area: Path, size: tuple[int, int]
) -> None:
    require_self_contained(browser, page(area), size, num_images=12)


def test_hostile_names_stay_text(browser: WebDriver, area: Path) -> None:
    opened(browser, page(area), DESKTOP)
    last = browser.find_elements("tag name", "article")[-1]
    assert HOSTILE in last.find_element("tag name", "h2").text
    assert last.find_element("class name", "reason").get_attribute("value") == HOSTILE
    assert browser.execute_script("return document.scripts.length") == 2
    assert not browser.find_elements("css selector", "img[src='x']")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(browser: WebDriver, area: Path, scheme: str) -> None:
    """Contrast of text against its page is at least 7 to 1."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        opened(browser, page(area), DESKTOP)
        script = (
            "return ['color', 'background-color'].map(name => "
            "getComputedStyle(document.body).getPropertyValue(name).match(/\\d+/g).map(Number))"
        )
        text, ground = map(_luminance, browser.execute_script(script))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) > 7
    assert (text > ground) == (scheme == "dark")


def _luminance(rgb: list[int]) -> float:
    parts = [value / 255 for value in rgb[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_alerts_are_judged_by_keys_saved_as_a_file_and_taken_in(
    browser: WebDriver, area: Path, tmp_path: Path
) -> None:
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    opened(browser, page(area), DESKTOP)
    browser.find_element("id", "reviewer").send_keys("Ada", Keys.ESCAPE)
    browser.execute_script("document.activeElement.blur()")
    names = [
        one.get_attribute("data-object") for one in browser.find_elements("tag name", "article")
    ]
    press(browser, "j", "c", "j", "r")  # rejected: the reason is asked for
    press(browser, "crop rotation", Keys.ENTER, "j", "u", "j", "c", "x")
    assert browser.find_element("id", "count").text == "4 of 6 judged"
    press(browser, "o")
    outline = browser.find_element("css selector", "article svg")
    assert not outline.is_displayed()
    press(browser, "k", "b")
    shown = [figure.is_displayed() for figure in browser.find_elements("tag name", "figure")[4:6]]
    assert shown == [True, False]  # in place of the other
    browser.refresh()  # a browser that is closed keeps what was not saved
    press(browser, Keys.ESCAPE)
    assert browser.find_element("id", "count").text == "4 of 6 judged"
    press(browser, "s")
    saved = tmp_path / "verdicts.geojson"
    deadline = time.monotonic() + 20
    while not saved.exists():
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.1)
    assert browser.get_log("browser") == []
    run(ReviewConfig(area=area, apply=saved))
    verdicts = read_verdicts(area / "alerts" / VERDICTS).set_index("object_id")
    assert verdicts["verdict"].drop(HOSTILE).to_dict() == {
        names[0]: "confirmed", names[1]: "rejected", names[2]: "unsure",
    }  # fmt: skip
    assert verdicts.loc[names[1], "reason"] == "crop rotation"
    assert set(verdicts["reviewer"]) == {"Ada", "ada"}


def test_only_those_that_nobody_judged_can_be_shown(browser: WebDriver, area: Path) -> None:
    opened(browser, page(area), DESKTOP)
    browser.execute_script("localStorage.clear(); location.reload()")
    browser.find_element("id", "only-open").click()
    shown = [one.is_displayed() for one in browser.find_elements("tag name", "article")]
    assert shown == [True] * 5 + [False]

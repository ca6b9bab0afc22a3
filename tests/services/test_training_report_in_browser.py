"""The report of a training in a real browser: it asks no network, fits a phone, runs no code."""

from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from noise2map_core.training.report.page import write_page
from tests.services.pages import DESKTOP, PHONE, opened, require_self_contained
from tests.training_factories import HOSTILE, finished_training

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose classes and source items bear hostile names."""
    folder = tmp_path_factory.mktemp("training")
    write_page(folder / "report.html", finished_training(folder, names=HOSTILE).page())
    return folder / "report.html"


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of many classes, one of which has a hostile name."""
    folder = tmp_path_factory.mktemp("segmentation")
    classes = tuple(f"class {value}" for value in range(8))
    training = finished_training(folder, names=HOSTILE, classes=classes)
    write_page(folder / "report.html", training.page())
    return folder / "report.html"


@pytest.mark.parametrize("kind", ["report", "segmentation"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_says_no_error_asks_no_network_and_does_not_scroll_sideways(
    browser: WebDriver, request: pytest.FixtureRequest, kind: str, size: tuple[int, int]
) -> None:
    require_self_contained(browser, request.getfixturevalue(kind), size, num_images=10)


def test_hostile_names_stay_text(browser: WebDriver, report: Path) -> None:
    opened(browser, report, DESKTOP)
    assert browser.title == "Training: change"
    assert browser.execute_script("return document.scripts.length") == 0
    assert not browser.find_elements(By.CSS_SELECTOR, "img[src='x']")
    assert f"changed{HOSTILE}" in browser.find_element(By.CLASS_NAME, "matrix").text


def test_lines_have_a_colour_and_settings_open(browser: WebDriver, report: Path) -> None:
    opened(browser, report, PHONE)
    line = browser.find_element(By.CSS_SELECTOR, ".chart .line:not(.faint) path")
    assert line.value_of_css_property("stroke") == "rgb(106, 61, 154)"
    assert line.value_of_css_property("fill") == "none"
    settings = browser.find_element(By.CSS_SELECTOR, "details.settings")
    assert "training.epochs" not in settings.text
    settings.find_element(By.TAG_NAME, "summary").click()
    assert "training.epochs" in settings.text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]


def test_no_code_runs_at_all(browser: WebDriver, report: Path) -> None:
    opened(browser, report, DESKTOP)
    ran = browser.execute_script(
        """const script = document.createElement("script");
        script.textContent = "window.foreign = true"; document.body.append(script);
        return window.foreign === true"""
    )
    assert not ran
    assert "Content Security Policy" in str(browser.get_log("browser"))

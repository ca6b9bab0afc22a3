"""Pages in a real browser."""

from pathlib import Path

from selenium.webdriver.chrome.webdriver import WebDriver

DESKTOP, PHONE = (1300, 900), (390, 844)


def opened(browser: WebDriver, report: Path, size: tuple[int, int]) -> WebDriver:
    metrics = {
        "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE,
    }  # fmt: skip
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")  # Chromium's own first page asks for much
    browser.get_log("browser"), browser.get_log("performance")  # forget what was before
    browser.get(report.as_uri())
    return browser


def require_self_contained(
    browser: WebDriver, report: Path, size: tuple[int, int], num_images: int
) -> None:
    """Fail unless the page shows all its images, says no error, asks no network and does not scroll
    sideways."""
    opened(browser, report, size)
    shown = browser.execute_script(
        "return [...document.images].map(image => image.complete && image.naturalWidth > 0)"
    )
    assert len(shown) >= num_images and all(shown)
    assert browser.get_log("browser") == []
    messages = [str(entry["message"]) for entry in browser.get_log("performance")]
    sent = [m for m in messages if 'Network.requestWillBeSent"' in m]
    assert sent and all('"url":"file://' in m or '"url":"data:' in m for m in sent)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= size[0]

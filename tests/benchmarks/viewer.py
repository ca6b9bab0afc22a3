"""How long a browser takes to show a map of 5,000² pixels with about 100,000 polygons, and how much
it is sent: by the clock, and in seconds of CPU of all its processes, which say what a machine that
does nothing else would take.

python tests/benchmarks/viewer.py [MAP]
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from tests.services.test_viewer_in_browser import asked, opened, served
from tests.viewer_factories import write_view

SIDE, SIGMA = 5_000, 1.65
RUNS = 3


def main() -> None:
    """Print a line a run."""
    with TemporaryDirectory() as folder:
        given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        output = given or write_view(Path(folder) / "view", SIDE, SIGMA)
        with served(output) as address:
            for _ in range(RUNS):
                browser = _browser()
                try:
                    _measure(browser, address)
                finally:
                    browser.quit()


def _browser() -> WebDriver:
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or ""))


def _measure(browser: WebDriver, address: str) -> None:
    driver = browser.service.process
    browser.get("about:blank")
    before = _cpu_s(driver.pid)
    opened(browser, address)
    spent = _cpu_s(driver.pid) - before
    mark = browser.execute_script("return performance.getEntriesByName('picture')[0].startTime")
    _, sent = asked(browser)
    print(
        f"first whole picture after {mark / 1000:.2f} s, {spent:.2f} s of CPU of the browser, "
        f"{sent / 1e6:.2f} MB; load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} CPUs"
    )


def _cpu_s(pid: int) -> float:
    processes = psutil.Process(pid).children(recursive=True)
    return sum(sum(process.cpu_times()[:2]) for process in processes)


if __name__ == "__main__":
    main()

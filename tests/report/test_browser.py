"""The pages in a real browser: drawn, silent, alone, and narrow enough for a phone."""

import json
import shutil

import pytest
from made_run import EXPLANATION, make_parts, make_run

from gnnflow.report import write_comparison, write_report

pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402
from selenium.webdriver import ActionChains  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,900",
)
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Starts the browser once; its log is read by the tests."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_path = shutil.which("chromedriver")
    if binary is None or driver_path is None:
        pytest.skip("no Chromium with its driver here (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of a run, and one that compares two."""
    folder = tmp_path_factory.mktemp("browser-pages")
    parts = make_parts(folder / "parts")
    runs = [make_run(folder / name, parts, num_epochs=4) for name in ("first", "a" * 60)]
    return {
        "run": write_report(runs[0]),
        "comparison": write_comparison(runs, folder / "comparison.html"),
    }


def show(browser, path, *, phone=False, theme="light"):
    """Opens a page; returns what the browser asked for and what it complained of."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    if phone:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(path.as_uri())
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return requests, browser.get_log("browser")


def texts(browser, selector):
    return [element.text for element in browser.find_elements("css selector", selector)]


@pytest.mark.parametrize("phone", [False, True])
@pytest.mark.parametrize(("name", "num_charts"), [("run", 4), ("comparison", 4)])
def test_a_page_draws_and_asks_for_nothing(browser, pages, name, num_charts, phone):
    requests, complaints = show(browser, pages[name], phone=phone)
    assert [url for url in requests if not url.startswith("data:")] == [pages[name].as_uri()]
    assert complaints == []
    drawn = browser.execute_script("return document.documentElement.dataset.charts")
    assert drawn == str(num_charts)
    width, window = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert width <= window
    if phone:
        assert window == PHONE["width"]
    pixels = browser.execute_script(
        "return [...document.querySelectorAll('canvas')].map(c => "
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0))"
    )
    assert pixels == [True] * num_charts


def test_the_headline_numbers(browser, pages):
    show(browser, pages["run"])
    values = {
        tile.get_attribute("data-tile"): tile.find_element("css selector", ".tile-value").text
        for tile in browser.find_elements("css selector", "[data-tile]")
    }
    assert values == {
        "score": "0.8000",
        "epoch_time": "20.00",
        "wait": "25%",
        "hit_rate": "25.0%",
        "volume": "3k",
        "over_optimum": "1.15 ×",
        "decisions": "6",
        "memory": "123.0 MB",
    }
    assert texts(browser, ".bars .bar-label")[:2] == ["rank 0", "rank 1"]


def test_a_decision_is_explained_under_the_pointer(browser, pages):
    show(browser, pages["run"])
    over = browser.find_element("css selector", "[data-chart=hit-rate] .u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", over)
    # The first decision is after minibatch 2 of 20, at a hit rate of 0.25 on an axis to 0.2875.
    size = over.size
    x = size["width"] * 2 / 19 - size["width"] / 2
    y = size["height"] * (1 - 0.25 / 0.2875) - size["height"] / 2
    ActionChains(browser).move_to_element_with_offset(over, round(x), round(y)).perform()
    tip = browser.find_element("css selector", "[data-chart=hit-rate] .tip")
    assert tip.is_displayed()
    lines = tip.text.splitlines()
    assert lines[:2] == ["minibatch 2", "all ranks: 25 %"]
    assert "replace · minibatch 2, rank 0" in lines
    assert EXPLANATION in tip.text.replace("\n", " ")


def test_dark_is_dark(browser, pages):
    shades = []
    for theme in ("light", "dark"):
        show(browser, pages["run"], theme=theme)
        color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in color[4:-1].split(",")[:3]))
    assert shades[0] > 600 > 150 > shades[1]

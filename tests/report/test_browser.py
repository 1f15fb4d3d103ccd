"""The page in a real browser: Debian's chromium. Skipped where it is not installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from fake_run import make_run

from segbench.report.page import report
from segbench.report.summarise import summarise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)",
    ),
]
CONTRAST = """
const light = (color) => {
  const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const color = getComputedStyle(element).backgroundColor;
    if (!/, 0\\)$/.test(color) && color !== "transparent") return color;
  }
  return "rgb(255, 255, 255)";
};
const faint = new Set();
for (const element of document.querySelectorAll("body *")) {
  const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!words || !element.getClientRects().length || element.tagName === "SCRIPT") continue;
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faint.add(element.tagName + "." + element.className + " " + ratio.toFixed(2));
}
return [...faint];
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    path = make_run(root, ("vessels", "street"), (0,), images=2, size=(40, 60), formats=["svg"])
    state = {"step": "train", "state": "failed", "reason": "no memory", "log": ""}
    (path.parent / "cells/street/fcn8s_vgg16/seed0/state.json").write_text(json.dumps(state))
    run = json.loads(path.read_text())
    run["models"]["unet"]["title"] = "U-Net, <b>a long name</b> " + "w" * 90
    path.write_text(json.dumps(run))
    summarise(path, path.parent / "summary")
    report(path, path.parent / "summary", path.parent / "report")
    return path.parent / "report" / "index.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium: Any, index: Path) -> Any:
    """The page as it is when it is opened, on a screen of 1280 pixels in light colours."""
    screen(chromium, 1280, "light")
    chromium.get(index.as_uri())
    return chromium


def screen(driver: Any, width: int, colors: str) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": colors}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def texts(page: Any, selector: str) -> list[str]:
    """Return the texts of the visible elements."""
    script = "return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length)"
    return page.execute_script(script + ".map(e => e.innerText.trim())", selector)


def test_nothing_is_wrong_in_the_console(page: Any) -> None:
    assert [entry["message"] for entry in page.get_log("browser")] == []


def test_a_click_sorts_and_says_so(page: Any) -> None:
    head = page.find_elements("css selector", ".matrix-table thead th")[2]
    orders = []
    for state in ("descending", "ascending"):
        head.find_element("tag name", "button").click()
        assert head.get_attribute("aria-sort") == state
        cells = texts(page, ".matrix-table tbody tr:not(.control) td:nth-child(3)")
        orders.append([float(text[:5]) for text in cells if text])
        names = texts(page, ".matrix-table tbody th")
        assert [name.startswith("control") for name in names[-3:]] == [True] * 3, "controls stay last"
    assert orders[0] == sorted(orders[0], reverse=True) and orders[1] == orders[0][::-1]
    assert len(orders[0]) >= 3


def test_filters_choose_networks_datasets_tasks_and_metrics(page: Any) -> None:
    def choose(name: str, value: str) -> None:
        script = (
            "const e = document.getElementById('filters').elements[arguments[0]]; e.value = arguments[1];"
        )
        page.execute_script(script + "e.dispatchEvent(new Event('input', {bubbles: true}))", name, value)

    every = texts(page, ".matrix-table tbody th")
    choose("network", "mask2, fcn8")
    assert set(texts(page, ".matrix-table tbody tr:not(.control) th")) == {
        "mask2former_resnet50",
        "fcn8s_vgg16",
    }
    assert texts(page, "#filters output") == ["5 of 7 rows"]
    page.find_element("css selector", "#filters [name=controls]").click()
    assert len(texts(page, ".matrix-table tbody th")) == 2
    page.find_element("css selector", "#filters [type=reset]").click()
    page.implicitly_wait(2)
    assert page.find_elements("css selector", ".matrix-table tbody tr:not(.off) + tr.control")
    assert texts(page, ".matrix-table tbody th") == every
    choose("dataset", "street")
    assert {text.split(" ")[0] for text in texts(page, ".matrix-table thead th")[2:]} == {"Street"}
    assert texts(page, "#dataset-1") == [] and len(texts(page, "#dataset-2")) == 1
    choose("task", "panoptic")
    assert len(texts(page, ".matrix-table thead th")) == 3
    assert texts(page, "#dataset-2-semantic") == [] and len(texts(page, "#dataset-2-panoptic")) == 1
    choose("metric", "RQ")
    assert "RQ" in texts(page, ".matrix-table thead th")[2]


def test_what_is_shown_can_be_copied(page: Any) -> None:
    table = page.find_element("css selector", ".matrix-table")
    box = table.find_element("xpath", "../following-sibling::details")
    box.find_element("tag name", "summary").click()
    heard = "window.copied = []; navigator.clipboard.writeText = async (t) => { window.copied.push(t); };"
    page.execute_script(heard)
    for button in box.find_elements("css selector", "button"):
        if button.text.startswith("Copy"):
            button.click()
    csv, markdown, latex = page.execute_script("return window.copied")
    assert csv.splitlines()[0].startswith("Network,Best or tied,") and len(csv.splitlines()) == 8
    assert "**" in markdown and markdown.splitlines()[1].startswith("| --- | ---: |")
    widths = {line.replace("\\\\|", "").count("|") for line in markdown.splitlines()}
    assert len(widths) == 1
    assert "\\toprule" in latex and latex.startswith("\\begin{tabular}{lr") and "\\textbf{" in latex
    assert "fcn8s\\_vgg16" in latex
    assert "7 rows" in box.find_element("css selector", "[role=status]").text


def test_links_lead_somewhere(page: Any, index: Path) -> None:
    script = "return [...document.querySelectorAll('a[href]')].map(a => a.href)"
    for address in page.execute_script(script):
        parts = urlsplit(address)
        assert parts.scheme == "file" and Path(unquote(parts.path)).exists(), address
        if parts.fragment:
            assert page.execute_script("return !!document.getElementById(arguments[0])", parts.fragment), (
                address
            )


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen(page: Any, width: int) -> None:
    screen(page, width, "light")
    page.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = page.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth,"
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.wide, pre, .vh')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)]"
    )
    assert found[1] == width and found[0] <= width, found
    assert found[2] == []


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_words_stand_out(page: Any, colors: str) -> None:
    screen(page, 1280, colors)
    assert page.execute_script(CONTRAST) == []

"""Reports in a browser: nothing cut off, too faint, fetched; what opens; what paper shows."""

# SPDX-License-Identifier: MIT

import re
from pathlib import Path

import browser
import power_rows
import pytest
from selenium.webdriver.common.by import By
from test_report import learn
from test_report_runs import learn_groups
from wage_host.log import Log
from wage_host.report import report

WIDTHS = (360, 1280)
SEEN = "return arguments[0].checkVisibility({contentVisibilityAuto: true})"


def usual(log: Log) -> list[int]:
    """A run with all there is: old and new classes, events, power, gaps."""
    run = learn(log, 10, 300, 200, state="live", new_classes=[8, 9], proved=True)
    power_rows.measured(log, run, (power_rows.LOST, power_rows.UNPLUGGED))
    log.event(run, "fault", "no answer; asked again")
    return [run]


def long_names(log: Log) -> list[int]:
    """What is long: names, words without a space, a command, a class for each letter."""
    word = "x" * 90
    names = [f"a long name of the class {c}" for c in range(26)]
    said = {"board": word, "model": word, "data": word, "deep": {word: word}}
    run = learn(log, 26, 260, 260, names=names, **said)
    return [run]


PAGES = {
    "usual": usual,
    "estimate": lambda log: [estimated(log)],
    "groups": lambda log: [learn_groups(log)],
    "long names": long_names,
    "runs": lambda log: [*usual(log), learn(log), learn_groups(log), learn(log, tests=0)],
}


def estimated(log: Log) -> int:
    """A run whose energy is an estimate with a long formula."""
    run = learn(log, state="live")
    what, joules, above, kind, how = power_rows.ESTIMATE[0]
    power_rows.energies(log, run, [(what, joules, above, kind, f"{how} ({'x' * 90})")])
    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each kind."""
    folder, out = tmp_path_factory.mktemp("reports"), {}
    for name, make in PAGES.items():
        with Log(folder / f"{name}.sqlite") as log:
            out[name] = folder / f"{name}.html"
            out[name].write_text(report(log, make(log)), encoding="utf-8")
    return out


def open_all(page: browser.Page) -> None:
    """Opens what can be opened."""
    page.driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


@pytest.mark.parametrize("name", PAGES)
def test_report_fits_and_can_be_read(page: browser.Page, files: dict, name: str) -> None:
    page.show(files[name])
    open_all(page)
    for width in WIDTHS:
        page.look(width)
        assert page.sticking_out() == []
        for dark in (False, True):
            page.look(width, dark)
            assert page.faint() == []
    assert page.errors() == []
    assert page.fetched() == []


def test_themes_differ(page: browser.Page, files: dict) -> None:
    page.show(files["usual"])
    colours = []
    for dark in (False, True):
        page.look(360, dark)
        colours.append(page.driver.execute_script("return getComputedStyle(document.body).color"))
    assert colours == ["rgb(27, 39, 51)", "rgb(232, 237, 242)"]


@pytest.mark.parametrize("width", WIDTHS)
def test_one_trace_is_shown_at_each_width(page: browser.Page, files: dict, width: int) -> None:
    page.look(width)
    page.show(files["usual"])
    shown = {kind: [svg.is_displayed() for svg in page.driver.find_elements(By.CLASS_NAME, kind)]
             for kind in ("broad", "narrow")}  # fmt: skip
    assert shown == {"broad": [width > 360] * 2, "narrow": [width == 360] * 2}


def test_details_open_and_close(page: browser.Page, files: dict) -> None:
    page.look(360)
    page.show(files["usual"])
    events = next(d for d in page.driver.find_elements(By.TAG_NAME, "details")
                  if d.text.startswith("Events"))  # fmt: skip
    cell = events.find_element(By.XPATH, ".//td[contains(., 'asked again')]")
    for expected in (True, False):
        events.find_element(By.TAG_NAME, "summary").click()
        assert page.becomes(expected, SEEN, cell)


def test_paper_shows_what_is_closed_in_light_colours(page: browser.Page, files: dict) -> None:
    page.look(1280, dark=True)
    page.show(files["usual"])
    cell = page.driver.find_element(By.XPATH, "//td[contains(., 'asked again')]")
    assert page.becomes(False, SEEN, cell)
    page.look_printed(dark=True)
    try:
        assert page.becomes(True, SEEN, cell)
        ink = page.driver.execute_script("return getComputedStyle(document.body).color")
        assert ink == "rgb(27, 39, 51)"
    finally:
        page.look(1280)
    closed = pages(page.pdf())
    open_all(page)
    assert closed == pages(page.pdf()) >= 2


def pages(pdf: bytes) -> int:
    """How many pages a PDF has."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))

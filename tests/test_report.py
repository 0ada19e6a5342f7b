"""Reports and pictures: right figures, well-formed, self-contained, and sensible for any run."""

# SPDX-License-Identifier: MIT

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from wage_host import draw, svg
from wage_host.core import Record
from wage_host.log import RECORD, Log
from wage_host.report import gather, picture, report

VOID = {"meta", "br", "hr", "img", "input", "link"}
EVIL = "<script>alert('1')</script>\"&\x00\x1b\udcff"
NBSP = "\u00a0"


class Page(HTMLParser):
    """Reads a page strictly: every tag must close in order; keeps texts and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """An empty log."""
    with Log(tmp_path / "a.sqlite") as log:
        yield log


def learn(log: Log, classes: int = 4, samples: int = 100, tests: int = 40, state: str = "done",
          told: object = 0, **conditions: object) -> int:
    """A run with made-up results: every third answer is wrong."""
    about = {"classes": classes if told == 0 else told, "place": "emulator",
             "board": "microbit", "seed": 1}
    run = log.begin("wage-host learn --seed 1", about | conditions)
    labels = np.arange(tests) % classes
    if tests:
        log.evaluation(run, "before", 0, labels, np.zeros(tests), "emulator")
    for i in range(samples):
        label = i % classes
        log.record(run, Record(i + 1, label, (label + (i % 3 == 0)) % classes, 8192, i % 10 == 0,
                               False, 1500))
    if tests and state == "done":
        log.evaluation(run, "after", samples, labels, labels, "emulator")
    if state != "live":
        log.end(run, state, {"weight_crc": "00c0ffee"})
    return run


def check_page(html: str) -> Page:
    """Well-formed, every SVG too, and nothing comes from elsewhere."""
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>\n")
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    for name, value in page.attributes:
        assert name not in ("src", "xlink:href", "srcset", "onload", "onclick")
        assert name != "href" or value.startswith("#")
    for drawn in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        check_svg(drawn)
    html.encode()
    return page


def check_svg(svg: str) -> ET.Element:
    """Valid XML that scales, has a text alternative, and stays inside its frame."""
    root = ET.fromstring(svg)
    tags = [element.tag for element in root.iter()]
    assert tags.count("title") == tags.count("desc") >= 1
    assert "width" not in root.attrib
    assert "nan" not in re.sub(">[^<]*<", "><", svg)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for element in root.iter("text"):
        assert -1 <= float(element.attrib["x"]) <= width
        assert 0 <= float(element.attrib["y"]) <= height
    for element in root.iter("rect"):
        assert float(element.attrib["x"]) >= 0
        assert float(element.attrib["x"]) + float(element.attrib["width"]) <= width + 0.2
        assert float(element.attrib["y"]) + float(element.attrib["height"]) <= height + 0.2
    return root


def check_picture(svg: str) -> None:
    """A stand-alone SVG with its colours written out."""
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in svg
    assert "href" not in svg
    assert svg.count("http") == 1  # the name space


RUNS: dict[str, Callable[[Log], int]] = {
    "usual": lambda log: learn(log, 10, 1500, 1000, new_classes=[8, 9]),
    "named": lambda log: learn(log, 3, names=["left", "right", "a very long name of a class"]),
    "live": lambda log: learn(log, state="live"),
    "failed": lambda log: learn(log, state="failed"),
    "interrupted": lambda log: learn(log, state="interrupted", tests=0),
    "no evaluations": lambda log: learn(log, tests=0),
    "no samples": lambda log: learn(log, samples=0, tests=0),
    "evaluated only": lambda log: learn(log, samples=0),
    "one sample": lambda log: learn(log, samples=1, tests=1),
    "one class": lambda log: learn(log, classes=1),
    "two samples, new classes untested": lambda log: learn(log, 4, 2, 2, new_classes=[2, 3]),
    "100 classes": lambda log: learn(log, 100, 5000, 2000, new_classes=list(range(60, 100))),
    "300 classes": lambda log: learn(log, 300, 900, 900),
    "1000 classes": lambda log: learn(log, 1000, 1000, 1000),
    "no conditions": lambda log: log.begin("", {}),
    "odd conditions": lambda log: learn(log, names="abc", new_classes=7, place=[1], seed=-3,
                                        deep={"a": [1, {"b": None}]}),
    "groups": lambda log: learn(log, groups=[["ann", 20], ["a very long name", 19], ["bob", 1]]),
    "groups that are none": lambda log: learn(log, groups=[["ann", -1], ["bob", 101]]),
    "odd groups": lambda log: learn(log, groups=[["ann"], 3]),
    "classes not told": lambda log: learn(log, told=None),
    "long stream": lambda log: learn(log, 10, 20000, 0),
}


@pytest.mark.parametrize("kind", RUNS)
def test_report_of_any_run_is_a_whole_page(log: Log, kind: str) -> None:
    run = RUNS[kind](log)
    page = check_page(report(log, [run]))
    assert f"WAGE run {run}" in page.text
    assert "nan" not in re.findall("[a-z]+", page.text)
    check_picture(picture(log, run))


def test_groups_take_the_place_of_classes(log: Log) -> None:
    groups = [["ann", 2], ["bob", 3]]
    run = log.begin("learn", {"classes": 2, "groups": groups, "place": "emulator"})
    labels = [0, 1, 0, 1, 1]
    log.evaluation(run, "before", 0, labels, [0, 1, 1, 0, 0], "emulator")
    log.evaluation(run, "after", 9, labels, [0, 0, 0, 1, 0], "emulator")
    page = report(log, [run])
    assert "<h3>By group</h3>" in page
    assert "ann: 100 → 50; bob (new): 0 → 67." in page
    assert "after, new<" in picture(log, run)
    other = log.begin("learn", {"classes": 2, "groups": [["ann", 2], ["bob", 4]]})
    log.evaluation(other, "after", 9, labels, labels, "emulator")
    assert "<h3>By class</h3>" in report(log, [other])


def test_report_tells_the_figures_and_where_they_were_measured(log: Log) -> None:
    run = log.begin("wage-host learn --data x.npz", {
        "classes": 4, "new_classes": [3], "place": "board", "board": "nrf5340", "lr_shift": -8,
        "data_crc": 0xBEEF})
    labels = [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    log.evaluation(run, "before", 0, labels, [0] * 4 + [1] * 4 + [2] * 4 + [0] * 4, "host")
    for i in range(1200):
        log.record(run, Record(i, 3, 3, 0, i < 200, i >= 1150, 2500))
    log.evaluation(run, "after", 1150, labels, [1] * 2 + [0] * 2 + [1] * 4 + [2] * 4 + [3] * 4,
                   "board")
    log.event(run, "link", "no answer; asked again")
    log.end(run, "done", {"weight_crc": "0a1b2c3d", "proved": True, "rate": 0.123456789})
    text = check_page(report(log, [run])).text.replace(NBSP, " ")
    assert ("Accuracy on all 4 classes went from 75.0 % to 87.5 % after 1,150 samples, "
            "measured on the host and on the board") in text
    assert "All classes75.0 % → 87.5 %+12.5 points; 16 test samples, on the board" in text
    assert "Old classes100.0 % → 83.3 %−16.7 points; 12 test samples" in text
    assert "New classes0.0 % → 100.0 %+100.0 points; 4 test samples" in text
    assert "Samples1,150200 below the threshold, not learned; 50 sent twice, learned once" in text
    assert "Time for a sample2.5 msmedian, on the board" in text
    assert "Whereon the boardnrf5340" in text
    assert "weight CRC 0a1b2c3d." in text
    assert "came to the same weights" in text
    assert "data crc0x0000BEEF" in text
    assert "lr shift−8" in text
    assert "rate0.123457" in text
    assert "wage-host learn --data x.npz" in text
    assert "linkno answer; asked again" in text


@pytest.mark.parametrize(("state", "words"), [
    ("live", "This run is going on. Shown is what came until 20"),
    ("failed", "This run failed. Shown is what came until then."),
    ("interrupted", "This run was interrupted. Shown is what came until then."),
])
def test_report_says_what_became_of_the_run(log: Log, state: str, words: str) -> None:
    assert words in check_page(report(log, [learn(log, state=state)])).text
    assert words not in check_page(report(log, [learn(log)])).text


def test_report_warns_of_different_test_samples(log: Log) -> None:
    run = log.begin("learn", {"classes": 2})
    log.evaluation(run, "before", 0, [0, 1], [0, 1], "host")
    log.evaluation(run, "half", 50, [1, 1], [0, 1], "host")
    text = check_page(report(log, [run])).text
    assert "Before and after were measured on different test samples." in text
    assert "The last evaluation came at sample 50, not at the end." in text


def test_report_headline_without_evaluations(log: Log) -> None:
    text = check_page(report(log, [learn(log, samples=30, tests=0)])).text.replace(NBSP, " ")
    assert ("30 samples on an emulated board: 66.7 % were answered right before they were "
            "learned") in text
    text = check_page(report(log, [learn(log, samples=0, tests=0)])).text
    assert "No samples were learned in this run" in text


def test_report_escapes_everything(log: Log) -> None:
    run = log.begin(f"wage-host learn {EVIL}", {
        "classes": 2, "names": [EVIL[:9], EVIL], "place": EVIL, "board": EVIL, "model": EVIL,
        EVIL: [EVIL, {EVIL: EVIL}]})
    log.evaluation(run, "before", 0, [0, 1], [0, 0], EVIL)
    log.evaluation(run, EVIL, 1, [0, 1], [0, 1], EVIL)
    log.record(run, Record(1, 1, 1, 0, False, False, 10))
    log.event(run, EVIL, EVIL)
    log.end(run, "failed", {"error": EVIL, "weight_crc": EVIL, EVIL: EVIL})
    html = report(log, [run])
    page = check_page(html)
    assert "<script" not in html
    assert "<script>alert('1')</script>\"&" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", html)
    check_picture(picture(log, run))


def test_report_of_many_events_is_cut(log: Log) -> None:
    run = learn(log, state="live")
    for i in range(250):
        log.event(run, "link", f"fault number {i}")
    text = check_page(report(log, [run])).text
    assert "fault number 199" in text
    assert "fault number 200" not in text
    assert "and 50 more" in text


def test_report_has_both_themes() -> None:
    assert svg.LIGHT.keys() == svg.DARK.keys()
    for palette in (svg.LIGHT, svg.DARK):
        for ink in ("ink", "muted"):
            for paper in ("paper", "panel"):
                assert contrast(palette[ink], palette[paper]) >= 4.5
        for mark in ("old", "new", "was"):
            assert contrast(palette[mark], palette["paper"]) >= 3
        for text in ("old", "new-text", "third", "fourth", "fifth"):  # of curves, on their labels
            assert contrast(palette[text], palette["paper"]) >= 4.5
        for share in np.arange(0, 1.01, 0.05):  # figures in the cells of a matrix
            cell = mix(palette["shade"], palette["panel"], share)
            assert contrast(cell, palette["ink"]) >= 4.5


def rgb(colour: str) -> np.ndarray:
    """Red, green and blue, 0 to 1."""
    return np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)]) / 255


def mix(over: str, under: str, share: float) -> str:
    """A colour laid over another with an opacity."""
    mixed = np.round(255 * (rgb(over) * share + rgb(under) * (1 - share))).astype(int)
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def contrast(a: str, b: str) -> float:
    """Contrast of two colours as WCAG defines it."""
    def luminance(colour: str) -> float:
        c = rgb(colour)
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_running_accuracy_is_the_mean_of_the_window() -> None:
    right = np.random.default_rng(0).integers(2, size=200).astype(bool)
    got = draw.running_accuracy(right, 30)
    wanted = [np.mean(right[max(0, i - 29):i + 1]) for i in range(200)]
    assert np.allclose(got, wanted, rtol=0, atol=1e-15)
    assert len(draw.running_accuracy(right[:0], 30)) == 0
    windows = [draw.window_of(n) for n in (0, 1, 30, 90, 1500, 60000)]
    assert windows == [1, 1, 10, 30, 30, 1200]


def test_curve_ends_at_the_last_accuracy_and_marks_arrivals() -> None:
    records = np.zeros(100, RECORD)
    records["label"] = np.repeat([0, 1], 50)
    records["prediction"] = [0] * 50 + [0, 1] * 25
    root = check_svg(draw.accuracy_curve(records, 3, new=[1]))
    assert root.find("desc").text == ("The mean over the last 30 samples ends at 50% "
                                      "after 100 samples.")
    assert "50 %" in [e.text for e in root.iter("text")]
    strips = [p for p in root.iter("path") if p.attrib["stroke-width"] != "2"]
    assert [p.attrib["stroke"] for p in strips] == ["var(--old)", "var(--new)"]  # none of class 2
    assert [p.attrib["d"].count("M") for p in strips] == [1, 1]  # one unbroken stretch each
    first, second = (float(p.attrib["d"].split()[0][1:]) for p in strips)
    left, right = 36, 312
    assert (first, second) == (left, (left + right) / 2)


def test_confusion_counts() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(5, size=(2, 300))
    counts = draw.confusion_counts(labels, predictions, 5)
    for r in range(5):
        for c in range(5):
            assert counts[r, c] == np.sum((labels == r) & (predictions == c))
    outside = draw.confusion_counts(np.array([0, 1, -1, 9]), np.array([7, -1, 0, 0]), 5)
    assert outside.sum() == 0
    root = check_svg(draw.confusion(labels, predictions, 5))
    shown = {e.text for e in root.iter("text")}
    assert {str(n) for n in counts.flat if n} <= shown
    assert f"{np.trace(counts)} of 300 samples" in root.find("desc").text


def test_long_names_are_cut_so_that_they_differ() -> None:
    names = ["left", "a very long name", "class of birds 1", "class of birds 2"]
    assert draw.class_names(4, names) == ["left", "a very lo…", "class…ds 1", "class…ds 2"]
    assert draw.class_names(3, names) == ["0", "1", "2"]


def test_bars_mark_new_classes_and_scale() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    before, after = np.zeros(8, int), np.array([0, 1, 1, 1, 2, 2, 2, 0])
    root = check_svg(draw.bars_before_after((labels, before), (labels, after), 4, [2], "abcd"))
    assert root.find("desc").text == "a: 100 → 50; b: 0 → 100; c (new): 0 → 75; d: –."
    bars = [(e.attrib["fill"], float(e.attrib["width"])) for e in root.iter("rect")
            if float(e.attrib["y"]) > 20]
    full = bars[0][1]
    assert bars == [("var(--was)", full), ("var(--old)", full / 2), ("var(--old)", full),
                    ("var(--new)", full * 0.75)]
    assert [e.text for e in root.iter("text")].count("new") == 1
    for one in ((None, (labels, after)), ((labels, before), None), (None, None)):
        check_svg(draw.bars_before_after(*one, 4))


def test_sample_learned_again_counts_once(tmp_path: Path) -> None:
    """A board that was reset falls back to its last save and learns some samples again."""
    with Log(tmp_path / "log") as log:
        run = log.begin("wage-host learn", {"classes": 2})
        for number in (1, 2, 3, 2, 3, 4):
            right = number != 2
            log.record(run, Record(number, 1, int(right), 8192, False, False, 9))
        log.record(run, Record(2, 1, 1, 8192, False, False, 9))
        story = gather(log, run)
        assert sorted(story.records["id"].tolist()) == [1, 2, 3, 4]
        assert story.records["prediction"][story.records["id"] == 2].tolist() == [1]

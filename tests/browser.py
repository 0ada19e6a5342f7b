"""Debian's Chromium without a window, and what a page must bear in it.

    def test_it(page: browser.Page) -> None:    # the fixture of conftest.py
        page.show(path)                         # or http://127.0.0.1:PORT
        page.look(360, dark=True)
        assert not page.sticking_out() and not page.faint()
        assert not page.errors() and not page.fetched()

`page.driver` is selenium's: find_element, execute_script. Nothing is downloaded by it.
"""

# SPDX-License-Identifier: MIT

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import native
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WAIT_S = 30  # for a page, on a busy computer
HEIGHT = {360: 780, 1280: 800}  # of a phone's and a desktop's window
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--force-color-profile=srgb", "--disable-background-networking",
         "--disable-component-update", "--no-first-run")  # fmt: skip

# Each element whose box reaches over the window's right or left edge, unless it scrolls by itself;
# and each text of a chart that is cut off at the chart's edge.
STICKING_OUT = """
const wide = document.documentElement.clientWidth, out = [];
const inScroller = e => { for (let p = e.parentElement; p; p = p.parentElement)
    if (['auto', 'scroll'].includes(getComputedStyle(p).overflowX)) return true;
    return false; };
for (const e of document.querySelectorAll('body *')) {
    const r = e.getBoundingClientRect();
    if (r.width && (r.right > wide + 1 || r.left < -1) && !inScroller(e))
        out.push(`${e.tagName} ${Math.round(r.left)} to ${Math.round(r.right)} of ${wide}: `
                 + e.textContent.slice(0, 40));
}
for (const e of document.querySelectorAll('svg text')) {
    const r = e.getBoundingClientRect(), s = e.ownerSVGElement.getBoundingClientRect();
    if (r.width && (r.right > s.right + 1 || r.left < s.left - 1 || r.top < s.top - 1
                    || r.bottom > s.bottom + 1))
        out.push(`cut off in a chart: ${e.textContent}`);
}
if (document.documentElement.scrollWidth > wide) out.push('the page scrolls sideways');
return out;
"""

# Each text whose contrast with all that is painted under its middle is below WCAG AA. The colours
# are the computed ones; fills of SVG, opacity and layers of them are laid over each other.
FAINT = """
const out = [], white = [255, 255, 255, 1];
const parse = text => { const n = (text.match(/[\\d.]+/g) || []).map(Number);
    return n.length < 3 ? [0, 0, 0, 0] : [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
const over = (top, low) => { const a = top[3];
    return [0, 1, 2].map(i => top[i] * a + low[i] * (1 - a)).concat(1); };
const shape = e => e instanceof SVGElement && !['svg', 'g'].includes(e.tagName);
const opacity = e => { let o = 1; for (let p = e; p; p = p.parentElement)
    o *= Number(getComputedStyle(p).opacity); return o; };
const paint = e => { const s = getComputedStyle(e), svg = shape(e);
    const c = parse(svg ? (s.fill === 'none' ? '' : s.fill) : s.backgroundColor);
    c[3] *= opacity(e) * (svg ? Number(s.fillOpacity) : 1); return c; };
const lum = c => { const l = c.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (walker.nextNode()) {
    const node = walker.currentNode, e = node.parentElement;
    if (!node.data.trim() || ['TITLE', 'title', 'desc', 'STYLE', 'SCRIPT'].includes(e.tagName))
        continue;
    const range = document.createRange(); range.selectNodeContents(node);
    const r = range.getBoundingClientRect(), s = getComputedStyle(e);
    if (!r.width || !r.height || s.visibility !== 'visible' || !e.checkVisibility()) continue;
    const svg = e instanceof SVGElement;
    const ink = parse(svg ? s.fill : s.color); ink[3] *= opacity(e);
    const x = Math.min(Math.max((r.left + r.right) / 2, 0), innerWidth - 1);
    const y = (r.top + r.bottom) / 2;
    const under = document.elementsFromPoint(x, y)
        .filter(p => p !== e && !['text', 'tspan'].includes(p.tagName));
    if (!svg) under.unshift(e);
    let back = white;
    for (const layer of under.reverse().map(paint)) back = over(layer, back);
    const [low, high] = [lum(over(ink, back)), lum(back)].sort((a, b) => a - b);
    const scale = svg && e.getScreenCTM ? e.getScreenCTM().a : 1;
    const size = parseFloat(s.fontSize) * scale, bold = Number(s.fontWeight) >= 700;
    const least = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    const ratio = (high + 0.05) / (low + 0.05);
    seen += 1;
    const words = node.data.trim().slice(0, 40);
    if (ratio < least) out.push(`${ratio.toFixed(2)} of ${least}: ${words}`);
}
return [seen, out];
"""


class Page:
    """A window of the browser. Sizes in CSS pixels."""

    def __init__(self, driver: webdriver.Chrome):
        self.driver = driver
        driver.set_page_load_timeout(WAIT_S)
        driver.set_script_timeout(WAIT_S)

    def show(self, where: Path | str) -> None:
        """Opens a file, or the address of a page that this computer serves."""
        self.driver.get_log("browser"), self.driver.get_log("performance")
        if isinstance(where, Path):
            assert where.is_file(), f"there is no page {where}"
            where = where.absolute().as_uri()
        self.driver.get(where)

    def look(self, width: int, dark: bool = False, height: int = 0, scale: float = 1) -> None:
        """The window's size (height 0: of a usual screen), pixels a CSS pixel, and the theme."""
        size = {"width": width, "height": height or HEIGHT.get(width, 800)}
        size |= {"deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self._media("", dark)

    def _media(self, media: str, dark: bool) -> None:
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": [theme]}
        )

    def sticking_out(self) -> list[str]:
        """What reaches over the window's sides; empty is right."""
        return self.driver.execute_script(STICKING_OUT)

    def faint(self) -> list[str]:
        """Texts with less contrast than WCAG AA asks, on all of the page; empty is right."""
        width, tall = self.driver.execute_script(
            "return [innerWidth, document.documentElement.scrollHeight]"
        )
        size = {"width": width, "height": tall, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_script("scrollTo(0, 0)")
        seen, found = self.driver.execute_script(FAINT)
        size["height"] = HEIGHT.get(width, 800)
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert seen, "no text was looked at"
        return found

    def becomes(self, wanted: object, script: str, *arguments: object) -> bool:
        """Whether a script gives this, now or soon: some things take until the next frame."""
        end = time.monotonic() + WAIT_S
        while self.driver.execute_script(script, *arguments) != wanted:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def errors(self) -> list[str]:
        """What the console complained of since show(); asked once."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] in ("SEVERE", "WARNING")]  # fmt: skip

    def fetched(self) -> list[str]:
        """Addresses beyond the page's own host that it asked for since show(); asked once."""
        sent = [json.loads(entry["message"])["message"]
                for entry in self.driver.get_log("performance")]  # fmt: skip
        sent = [m["params"]["request"]["url"] for m in sent
                if m["method"] == "Network.requestWillBeSent"]  # fmt: skip
        sent = [url for url in sent if urlsplit(url).scheme != "data"]
        here = urlsplit(self.driver.current_url)
        if here.scheme == "file":
            return [url for url in sent if url != self.driver.current_url]
        return [url for url in sent if urlsplit(url).netloc != here.netloc]

    def look_printed(self, dark: bool = False) -> None:
        """Shows the page as on paper, until look() is called."""
        self._media("print", dark)

    def pdf(self) -> bytes:
        """The page as printed, with what print styles say."""
        return base64.b64decode(self.driver.print_page())

    def shoot(self) -> bytes:
        """All of the page as PNG, at the width that look() gave."""
        shot = {"captureBeyondViewport": True, "format": "png"}
        return base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", shot)["data"])


@contextlib.contextmanager
def opened() -> Iterator[Page]:
    """A browser with one window; the test is skipped without one."""
    program, driver = native.need("chromium"), native.need("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        yield Page(window)
    finally:
        window.quit()

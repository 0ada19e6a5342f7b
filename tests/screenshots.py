"""Pictures of the report and the live page for docs/report.md: tests/screenshots.py [FOLDER]

Runs of the demo's digits on an emulated board. The power beside them is made up by a fake
PPK2: what it shows is how a report looks, and no board's energy.
"""

# SPDX-License-Identifier: MIT

import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import browser
import fakes
import native
from PIL import Image
from selenium.webdriver.common.by import By
from wage_host import demo, emulate, firmware

BOARD = "netduinoplus2"
# Samples at 100 kS/s, amperes and pins (the phase): one sample comes, and 16 steps are learned.
STEPS = [[20, 0.0011, 0], [80, 0.0021, 1], [20, 0.0011, 0],
         *[[15, 0.0132, 2], [35, 0.0147, 3], [12, 0.0127, 4]] * 16]  # fmt: skip
UNPLUGGED = 550_000  # samples until the instrument is gone
COLOURS, FLAT, MOST_BYTES = 48, 20, 150_000  # flat: of areas, kept as they are
SLOW = ("--replays", "60")  # so that there is time to look at the live page
LOOK_AT = 170  # samples learned by then
COLUMN, GAP = 2400, 40  # height of a part of a phone's page, and room between two


WAGE_HOST = (sys.executable, "-m", "wage_host")


def learning(port: str, *arguments: str) -> list[str]:
    """The command for one run into wage.sqlite, in a folder that has the demo's files."""
    files = ("--model", "digits.wage", "--data", "stream.npz", "--eval-data", "test.npz")
    return [*WAGE_HOST, "learn", "--port", port, *files, *arguments]


def report(folder: Path, *arguments: str) -> None:
    """The report of runs."""
    subprocess.run([*WAGE_HOST, "report", *arguments], cwd=folder, check=True)


def runs(folder: Path, image: Path) -> None:
    """Three runs: all well; without replay, its instrument unplugged; without instrument."""
    for options, more in (({}, []), ({"unplug": UNPLUGGED}, ["--replays", "0"]),
                          (None, ["--lr", "2^-5"])):  # fmt: skip
        with emulate.running(BOARD, image) as port:
            if options is None:
                subprocess.run(learning(port, *more), cwd=folder, check=True)
                continue
            with fakes.running("ppk2", steps=STEPS, **options) as instrument:
                beside = ("--power", f"ppk2:{instrument}", "--volts", "3")
                subprocess.run(learning(port, *more, *beside), cwd=folder, check=True)
    report(folder, "1", "-o", "report.html")
    report(folder, "2", "-o", "gap.html")
    report(folder, "1", "2", "3", "-o", "runs.html")


def live(folder: Path, image: Path, page: browser.Page, out: Path) -> None:
    """The live page of a run, in the middle of it."""
    with emulate.running(BOARD, image) as port:
        command = learning(port, *SLOW, "--serve")
        run = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        url = next(line.split()[1] for line in run.stdout if line.startswith("live: "))
        page.show(url)
        done = 0
        while done < LOOK_AT:
            time.sleep(0.1)
            title = page.driver.execute_script("return document.querySelector('h1').innerText")
            found = re.match(r"Learning: (\d+) of", title)
            done = int(found[1]) if found else 0
        shoot(page, "live", out)
        assert run.wait() == 0


def keep(png: bytes, path: Path, column: int = 0) -> None:
    """Writes a picture with few colours; column: cut into parts of this height, side by side."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    wide, high = picture.size
    if column and high > column:
        count = -(-high // column)
        sheet = Image.new("RGB", (count * (wide + GAP) - GAP, column), "#808080")
        for k in range(count):
            part = picture.crop((0, k * column, wide, min(high, (k + 1) * column)))
            sheet.paste(part, (k * (wide + GAP), 0))
        picture = sheet
    often = sorted(picture.getcolors(picture.width * picture.height), reverse=True)[:FLAT]
    between = picture.quantize(COLOURS - FLAT, Image.Quantize.MAXCOVERAGE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for _, colour in often for value in colour] + between)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    assert size <= MOST_BYTES, f"{path} has {size} bytes: give it fewer colours, or make it smaller"
    print(f"{path}: {size:,} bytes")


def shoot(page: browser.Page, name: str, out: Path) -> None:
    """What is shown, in both themes, as wide as a desktop and as a phone."""
    for width, what in ((1280, "desktop"), (360, "phone")):
        for dark, theme in ((False, "light"), (True, "dark")):
            page.look(width, dark)
            column = COLUMN if what == "phone" else 0
            keep(page.shoot(), out / f"{name}-{what}-{theme}.png", column)


def main(out: Path) -> None:
    """All pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser.opened() as page:
        folder = Path(scratch)
        image = firmware.build(BOARD, firmware.Contents(demo.make(folder).model))
        runs(folder, image)
        live(folder, image, page, out)
        for name in ("report", "runs"):
            page.show(folder / f"{name}.html")
            shoot(page, name, out)
        page.look(1280)
        page.show(folder / "gap.html")
        figures = page.driver.find_elements(By.CSS_SELECTOR, "figure.whole")
        keep(figures[-1].screenshot_as_png, out / "gap.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else native.ROOT / "docs/report")

"""The browser's eyes: each fault that a page can have is seen, and a sound page has none."""

# SPDX-License-Identifier: MIT

from pathlib import Path

import browser
import pytest

SOUND = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>t</title>
<style>body {{ color: #111; background: #fff }} .d {{ overflow-x: auto; width: 100px }}
@media (prefers-color-scheme: dark) {{ body {{ color: #eee; background: #111 }} }}</style>
<body><p>plain</p><div class="d"><div style="width: 3000px">it scrolls</div></div>
<details><summary>more</summary><p style="color: #777; background: #777">closed</p></details>
{more}</body></html>"""
OVER = '<div style="width: 700px">wide</div>'
FAINT = {
    '<p style="color: #888">grey</p>': "3.54 of 4.5: grey",
    '<p style="color: #888; font-size: 24px">large</p>': None,
    '<p style="opacity: .5">half</p>': "3.54 of 4.5: half",
    '<svg width="90" height="30"><text y="20" fill="#888">chart</text></svg>': "3.54 of 4.5: chart",
    '<svg width="90" height="30"><rect width="90" height="30" fill="#00f" fill-opacity=".5"/>'
    '<text y="20" fill="#777">cell</text></svg>': "1.37 of 4.5: cell",
}


def show(page: browser.Page, folder: Path, more: str = "") -> browser.Page:
    """A page with something in it, on a phone."""
    file = folder / "page.html"
    file.write_text(SOUND.format(more=more))
    page.look(360)
    page.show(file)
    return page


def test_sound_page_has_no_fault(page: browser.Page, tmp_path: Path) -> None:
    show(page, tmp_path)
    for width in (360, 1280):
        for dark in (False, True):
            page.look(width, dark)
            assert page.driver.execute_script("return innerWidth") == width
            assert (page.sticking_out(), page.faint()) == ([], [])
    assert (page.errors(), page.fetched()) == ([], [])
    assert page.pdf().startswith(b"%PDF")
    assert page.shoot().startswith(b"\x89PNG")


def test_what_is_too_wide_is_seen_on_a_phone_only(page: browser.Page, tmp_path: Path) -> None:
    show(page, tmp_path, OVER)
    assert any("wide" in line for line in page.sticking_out())
    page.look(1280)
    assert page.sticking_out() == []


def test_text_that_a_chart_cuts_off_is_seen(page: browser.Page, tmp_path: Path) -> None:
    text = '<svg width="90" height="30"><text x="{}" y="20">text</text></svg>'
    assert show(page, tmp_path, text.format(0)).sticking_out() == []
    assert show(page, tmp_path, text.format(75)).sticking_out() == ["cut off in a chart: text"]


@pytest.mark.parametrize("more", FAINT)
def test_faint_text_is_seen(page: browser.Page, tmp_path: Path, more: str) -> None:
    wanted = FAINT[more]
    assert show(page, tmp_path, more).faint() == ([wanted] if wanted else [])


def test_errors_and_requests_are_seen(page: browser.Page, tmp_path: Path) -> None:
    show(page, tmp_path, "<script>null.x</script><img src='http://127.0.0.1:9/a.png'>")
    assert any("TypeError" in line for line in page.errors())
    assert page.fetched() == ["http://127.0.0.1:9/a.png"]
    show(page, tmp_path)
    assert (page.errors(), page.fetched()) == ([], [])

"""The live page: what it shows, to whom, in a browser; and it ends with the run."""

# SPDX-License-Identifier: MIT

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import browser
import pytest
from click.testing import CliRunner
from test_cli import WaitingBoard
from test_course import going, record
from wage_host import cli, demo, serve, sim
from wage_host.errors import PortBusy
from wage_host.serve import Server

WAIT_S = 20


@pytest.fixture(scope="module")
def page() -> Iterator[browser.Page]:
    """A browser."""
    with browser.opened() as opened:
        yield opened


def get(port: int, path: str, host: str = "127.0.0.1") -> http.client.HTTPResponse:
    """An answer of the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    return connection.getresponse()


def waits_for(page: browser.Page, text: str) -> None:
    """Until the page says so."""
    end = time.monotonic() + WAIT_S
    while text not in (now := page.driver.execute_script("return document.body.innerText")):
        assert time.monotonic() < end, f"'{text}' never came: {now}"
        time.sleep(0.05)


def test_page_fits_phone_and_desktop_in_both_themes(page: browser.Page) -> None:
    course = going()
    course.hear("fault", "a damaged frame came in (frame_crc)", at_sample=3)
    course.hear("save", "checkpoint 3", at_sample=200, generation=3)
    with Server(0, lambda: serve.body(course, "<b>stream</b>.npz")) as server:
        page.show(server.url)
        waits_for(page, "250 of 400")
        for width in (360, 1280):
            for dark in (False, True):
                page.look(width, dark)
                assert page.sticking_out() == []
                assert page.faint() == []
        assert page.errors() == [] and page.fetched() == []
        for text in ("<b>stream</b>.npz", "80.0 %", "480 of 480", "1 fault", "checkpoint 3"):
            waits_for(page, text)
        assert len(page.driver.find_elements("css selector", "figure svg")) == 2


def test_page_follows_the_run_and_says_how_it_ended(page: browser.Page) -> None:
    course = going(250)
    with Server(0, lambda: serve.body(course, "d")) as server:
        page.show(server.url)
        waits_for(page, "250 of 400")
        for k in range(150):
            course.take(record(251 + k, 2))
        waits_for(page, "400 of 400")
        course.ended = "done"
    waits_for(page, "done")
    time.sleep(0.3)
    assert page.driver.find_elements("id", "notice") == []
    assert page.errors() == []


def test_page_says_when_the_run_is_lost(page: browser.Page) -> None:
    code = ("import time\nfrom wage_host.serve import Server\n"
            "with Server(0, lambda: '<h1>here</h1>') as s:\n"
            "    print(s.url, flush=True)\n    time.sleep(60)\n")  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        page.show(run.stdout.readline().strip())
        waits_for(page, "here")
        time.sleep(0.3)
        run.kill()
    waits_for(page, "does not answer any more")


def test_server_is_for_this_computer_and_its_two_addresses() -> None:
    with Server(0, lambda: "x") as server:
        answer = get(server.port, "/")
        assert (answer.status, answer.getheader("Cache-Control")) == (200, "no-store")
        text = answer.read().decode()
        policy = re.search(r'content="(default-src[^"]*)"', text)[1]
        assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
        assert "http" not in text.replace("http-equiv", "")
        assert get(server.port, "/", "localhost").status == 200
        assert get(server.port, "/", "evil.example").status == 403  # a name made to lead here
        assert get(server.port, "/events", "evil.example").status == 403
        assert get(server.port, "/wage.sqlite").status == 404
        assert get(server.port, "/../log").status == 404
        assert server._server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        get(server.port, "/")


def test_events_end_with_the_run_also_for_many_listeners() -> None:
    with Server(0, lambda: '<p id="ö">\n') as server:
        answers = [get(server.port, "/events") for _ in range(3)]
        begun = time.monotonic()
    assert time.monotonic() - begun < serve.GRACE_S
    for answer in answers:
        parts = answer.read().decode().split("\n\n")
        assert parts[-2:] == ["event: end\ndata: ", ""]
        assert json.loads(parts[0].removeprefix("event: message\ndata: ")) == '<p id="ö">\n'


def test_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortBusy, match=f"--serve cannot have port {port} "):
            Server(port, str)


def test_learn_serves_and_logs_no_run_when_it_cannot(
    demo_files: demo.Files, tmp_path: Path
) -> None:
    def learn(*more: object) -> dict:
        words = ["learn", "--port", "sim", "--model", demo_files.model, "--data",
                 demo_files.stream, "--log", tmp_path / "log", "--json", *more]  # fmt: skip
        done = CliRunner().invoke(cli.wage_host, list(map(str, words)), standalone_mode=False)
        return json.loads(done.stdout.splitlines()[-1]) | {"said": done.stderr}

    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = learn("--serve", taken.getsockname()[1])
        assert answer["code"] == 4
    answer = learn("--serve")
    assert (answer["ok"], answer["run"]) == (True, 1)
    url = re.search(r"live: http://127.0.0.1:(\d+)/", answer["said"])
    with pytest.raises(ConnectionRefusedError):
        get(int(url[1]), "/")


def test_browser_beside_a_real_run(
    page: browser.Page, demo_files: demo.Files, tmp_path: Path, served: Callable[..., str]
) -> None:
    board = WaitingBoard(demo_files.model.read_bytes(), tmp_path / "store")
    words = ["learn", "--port", served(sim.serve_socket, board, 0), "--serve", "--data",
             demo_files.stream, "--log", tmp_path / "log", "--timeout", "120"]  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "wage_host", *map(str, words)], text=True,
                          stdout=subprocess.PIPE) as run:  # fmt: skip
        line = ""
        while not line.startswith("live: "):
            line = run.stdout.readline()
        page.show(line.split()[1])
        waits_for(page, "Learning: ")
        board.may_go_on.set()
        rest = run.stdout.read()
        assert run.wait(60) == 0, rest
    waits_for(page, "Learning: 265 of 265")
    waits_for(page, "done")
    assert page.errors() == [] and page.sticking_out() == []

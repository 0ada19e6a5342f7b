"""How a run goes, as a page for browsers on this computer. It ends with the run."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

import numpy as np

from wage_host import draw
from wage_host.course import Course
from wage_host.errors import PortBusy
from wage_host.report import page
from wage_host.screen import Screen, time_text
from wage_host.svg import escape

HERE = "127.0.0.1"  # and nobody else: what is shown is the user's
EVERY_S = 0.5  # between two looks
SHARE = 0.1  # of the time at most for them: long runs take longer to draw
GRACE_S = 3.0  # for browsers to hear of the end

SCRIPT = """
const main = document.querySelector('main'), events = new EventSource('events');
const notice = text => {
  const old = document.getElementById('notice'); if (old) old.remove();
  if (!text) return;
  const p = document.createElement('p'); p.id = 'notice'; p.className = 'notice';
  p.textContent = text; main.prepend(p);
};
events.onmessage = e => { main.innerHTML = JSON.parse(e.data); };
events.addEventListener('end', () => { events.close(); });
events.onerror = () => notice('wage-host does not answer any more: the run was cut off, or lost.');
"""
STYLE = """
progress { display: block; width: 100%; height: .8rem; margin: 0 0 1rem;
  accent-color: var(--old); }
.tile b { font-variant-numeric: tabular-nums; }
.tile { overflow-wrap: anywhere; }
"""


def body(course: Course, title: str) -> str:
    """What the page shows now, HTML."""
    with course.lock:
        head, labels, predictions = _head(course, title), course.labels[:], course.predictions[:]
        learning = course.learning
    if not labels or not course.classes:
        return head
    answers = np.frombuffer(labels, np.uint8), np.frombuffer(predictions, np.uint8)
    return head + page.charts(_charts(course, answers, learning))


def _head(course: Course, title: str) -> str:
    """All but the charts."""
    of = f" of {course.total:,}" if course.total else ""
    left_s = course.left_s()
    left = f" · {time_text(left_s)} left" if left_s and not course.ended else ""
    value = f' max="{course.total}" value="{course.done}"' if course.total else ""
    state = course.ended or "live"
    parts = [
        f'<p class="over">{escape(title)} · <span class="state">{escape(state)}</span></p>',
        f"<h1>{escape(course.what.capitalize() or 'Beginning')}: {course.done:,}{of}"
        f"{escape(left)}</h1>",
        f'<progress{value} aria-label="progress"></progress>',
        page.tiles([(name.capitalize(), *rest) for name, *rest in course.figures()]),
    ]
    return "\n".join(parts)


def _charts(course: Course, answers: draw.Answers, learning: bool) -> list[tuple[str, str, str]]:
    """Title, chart and caption."""
    records = np.zeros(len(answers[0]), [("label", "u1"), ("prediction", "u1")])
    records["label"], records["prediction"] = answers
    curve = draw.accuracy_curve(records, course.classes, names=course.names)
    shares = draw.class_accuracy(answers, course.classes)
    name = "right so far"
    bars = draw.bars(course.names, [("old", name, shares)], (), "Right answers by class",
                     axis="right answers, %")
    was = "Each sample is answered before it is learned." if learning else ""
    return [("Over the samples", curve, was), ("By class", bars, "")]


def whole(first: str) -> str:
    """The page itself, which asks for what follows."""
    return page.page("WAGE live", [first], SCRIPT, STYLE)


class Server:
    """Serves `body()` at http://127.0.0.1:PORT/ while the with block lasts; 0: any free port."""

    def __init__(self, port: int, body: Callable[[], str]):
        self.body, self._changed = body, threading.Condition()
        self._ended, self._listening = False, 0
        try:
            self._server = http.server.ThreadingHTTPServer((HERE, port), _handler(self))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or "there is no such port"
            raise PortBusy(
                f"--serve cannot have port {port} ({why}): name another one, or none for any"
            ) from None
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://{HERE}:{self.port}/"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        """Tells every browser how it ended, and stops."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._listening, GRACE_S)
        self._server.shutdown()
        self._server.server_close()

    def listen(self, send: Callable[[str, str], None]) -> None:
        """Sends what the page shows, again and again, and 'end' in the end."""
        with self._changed:
            self._listening += 1
        try:
            ended, last = False, ""
            while not ended:
                begun = time.monotonic()
                ended, now = self._ended, self.body()
                if now != last:
                    send("message", json.dumps(now))
                last, spent = now, time.monotonic() - begun
                with self._changed:
                    if not ended and not self._ended:
                        self._changed.wait(max(EVERY_S, spent / SHARE))
            send("end", "")
        finally:
            with self._changed:
                self._listening -= 1
                self._changed.notify_all()


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Two addresses: the page, and its events."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            # A page elsewhere whose name was made to lead here must not read it.
            if self.headers.get("Host") not in {f"{h}:{server.port}" for h in (HERE, "localhost")}:
                self.send_error(403)
            elif self.path == "/":
                self._answer("text/html; charset=utf-8", whole(server.body()).encode())
            elif self.path == "/events":
                self._answer("text/event-stream", None)
                with contextlib.suppress(OSError):  # the browser has gone
                    server.listen(self._send)
                self.close_connection = True
            else:
                self.send_error(404)

        def _answer(self, kind: str, content: bytes | None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            if content is not None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if content is not None:
                self.wfile.write(content)

        def _send(self, event: str, data: str) -> None:
            self.wfile.write(f"event: {event}\ndata: {data}\n\n".encode())
            self.wfile.flush()

        def log_message(self, *_arguments: object) -> None:
            """The terminal is for the run."""

    return Handler


@contextlib.contextmanager
def served(screen: Screen, port: int | None, course: Course, title: str) -> Iterator[None]:
    """The live page, when a port is asked for, as long as the run lasts."""
    if port is None:
        yield
        return
    with Server(port, lambda: body(course, title)) as server:
        screen.say(f"live: {server.url}")
        try:
            yield
        except BaseException as error:
            course.ended = f"ended: {error or 'interrupted'}"
            raise
        course.ended = "done"

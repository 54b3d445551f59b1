"""The HTML report in headless Chromium, driven over its DevTools pipe: sorting, evidence, schemes, and no request."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time

import pytest

from flipbench.report.collect import collect
from flipbench.report.html.page import to_html
from flipbench.report.table import overall_table

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
ROWS = "[deepfm, dcnv2, afn, {flip: {plm: small}}]"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Browser:
    """One page, and all that it said on the console or asked the network for."""

    def __init__(self, profile):
        self._read, theirs_out = os.pipe()
        theirs_in, self._write = os.pipe()

        def pipes():  # where chromium looks for them; first out of the way, one may be 3 or 4 itself
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in (theirs_in, theirs_out)]
            for fd, place in zip(high, (3, 4), strict=True):
                os.dup2(fd, place)
                os.close(fd)

        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, close_fds=False, preexec_fn=pipes, stdout=quiet, stderr=quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._buffer, self._session, self.events = 0, b"", None, []
        (target,) = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 16)
            assert part, "chromium ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def eval(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression):
        end = time.monotonic() + 30
        while not self.eval(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.02)

    def press(self, key, code):
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
            text = {}

    def said(self):
        wanted = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [e for e in self.events if e.get("method") in wanted]

    def asked(self):
        urls = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("data:")]

    def close(self):
        with contextlib.suppress(Exception):
            self._session = None
            self.call("Browser.close")
        os.close(self._write)
        os.close(self._read)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def page(browser, stored, tmp_path):
    """A report of two seeds, in the browser; returns its table and its address."""
    plan, store = stored(
        {"deepfm": 0.8, "dcnv2": 0.9, "afn": 0.7, "flip": 1.6}, methods=ROWS, seeds="2", paper="table2",
        title="\"<script>document.title = 'bad'</script>\"", compare="{reference: flip, alpha: 0.01}",
    )  # fmt: skip
    results = collect(plan, store)
    file = tmp_path / "mini.html"
    file.write_text(to_html(plan, store, results), encoding="utf-8")
    browser.events.clear()
    browser.open(file.as_uri())
    yield overall_table(results), file.as_uri()
    assert browser.said() == [], "nothing on the console, no policy broken"
    assert set(browser.asked()) <= {file.as_uri()}, "nothing is loaded"
    assert "bad" not in browser.eval("document.title").split()


ORDER = """[...document.querySelectorAll(".results tbody tr:not(.group) th")]
    .slice(0, %d).map((th) => th.firstChild.textContent)"""
HEAD = "document.querySelectorAll('.results')[0].querySelectorAll('thead button')[%d]"


@pytest.mark.parametrize(("button", "column"), [(1, 0), (2, 1), (3, 2), (5, 4)])
def test_sorting_by_keyboard(browser, page, button, column):
    table, _ = page
    rows = list(table.rows)
    order, head = ORDER % len(rows), HEAD % button
    before = browser.eval(order)
    assert before == [row.label for row in rows]
    which = table.columns_of("movielens-1m")[column]
    best_is_low = table.columns[which].metric == "logloss"
    for turn, descending in enumerate((not best_is_low, best_is_low)):
        browser.eval(f"{head}.focus()")
        browser.press("Enter", 13)
        assert browser.eval(f"{head}.parentNode.ariaSort") == ("descending" if descending else "ascending"), turn
        have = [row for row in rows if row.cells[which].value is not None]
        expected = sorted(have, key=lambda r: r.cells[which].value, reverse=descending)  # stable, as the page must be
        missing = [row.label for row in rows if row.cells[which].value is None]
        assert browser.eval(order) == [row.label for row in expected] + missing
        assert "Sorted by" in browser.eval("document.querySelector('[role=status]').textContent")
    browser.press("Enter", 13)
    assert browser.eval(order) == before
    assert browser.eval("document.querySelector('[aria-sort]')") is None


def test_a_cell_opens_its_evidence_and_escape_leads_back(browser, page):
    link = "document.querySelectorAll('td.ours a.evidence')[0]"
    browser.eval(f"{link}.focus()")
    browser.press("Enter", 13)
    assert browser.eval("document.querySelector('dialog').open")
    assert browser.eval("document.querySelector('dialog h3').textContent") == "DeepFM on MovieLens-1M"
    assert browser.eval("document.querySelector('dialog').innerText.includes('p after Holm')")
    assert browser.eval("document.querySelector('dialog').contains(document.activeElement)")
    browser.press("Escape", 27)
    browser.wait("!document.querySelector('dialog').open")
    assert browser.eval(f"document.activeElement === {link}")
    browser.eval("document.querySelectorAll('td.paper a.evidence')[0].click()")
    assert browser.eval("document.querySelector('dialog').open"), "the paper's number too"
    browser.eval("document.querySelector('dialog header button').click()")
    assert not browser.eval("document.querySelector('dialog').open")


def test_dark_where_the_reader_wants_it_and_light_on_paper(browser, page):
    grounds = {}
    for name, options in {
        "light": {"features": [{"name": "prefers-color-scheme", "value": "light"}]},
        "dark": {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
        "print": {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    }.items():
        browser.call("Emulation.setEmulatedMedia", **options)
        grounds[name] = browser.eval("getComputedStyle(document.body).backgroundColor")
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    assert grounds["light"] == grounds["print"] != grounds["dark"]


def test_a_phone_scrolls_the_table_and_not_the_page(browser, page):
    browser.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    browser.eval("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.eval("document.documentElement.scrollWidth") <= 360
    assert browser.eval("document.querySelector('.scroll').scrollWidth > document.querySelector('.scroll').clientWidth")
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_without_script_a_link_unfolds_the_evidence(browser, page):
    _, address = page
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(address)
        place = browser.eval("document.querySelector('td.ours a.evidence').hash")
        assert browser.eval("document.querySelector('thead button')") is None, "nothing that does nothing"
        assert not browser.eval(f"document.querySelector('{place.replace('.', chr(92) * 2 + '.')}').parentNode.open")
        browser.open(address + place)
        browser.wait(f"document.querySelector('{place.replace('.', chr(92) * 2 + '.')}').parentNode.open")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)

"""The built site stands on its own: nothing is loaded from another host, and it works offline."""

import base64
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest

from book import offline

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(os.environ.get("RECLIB_SITE", ROOT / "_build" / "html"))
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
     if (path := shutil.which(name))), None,
)  # fmt: skip

EXTERNAL = [
    ("html", '<script src="https://cdn.example.org/a.js"></script>', "<script src>"),
    ("html", '<script src="//cdn.example.org/a.js"></script>', "<script src>"),
    ("html", '<SCRIPT SRC="HTTPS://cdn.example.org/a.js"></SCRIPT>', "<script src>"),
    ("html", '<link rel="preconnect" href="https://fonts.example.org">', "<link rel=preconnect>"),
    ("html", '<link href="https://e.org/a.css" rel="alternate stylesheet">', "stylesheet>"),
    ("html", '<img src="https://e.org/a.png">', "<img src>"),
    ("html", '<img srcset="a.png 1x, https://e.org/a.png 2x">', "<img srcset>"),
    ("html", '<iframe src="https://e.org/"></iframe>', "<iframe src>"),
    ("html", '<svg><image href="https://e.org/a.png"/></svg>', "<image href>"),
    ("html", '<p style="background: url(https://e.org/a.png)">x</p>', "style attribute"),
    ("html", "<style>@import 'https://e.org/a.css';</style>", "<style>"),
    ("html", '<script>const u = "https://unpkg.com/thebe";</script>', "inline script"),
    ("html", '<meta http-equiv="refresh" content="0; url=https://e.org">', "<meta refresh>"),
    ("css", "@font-face { src: url('https://fonts.example.org/a.woff2') }", "fonts.example.org"),
    ("css", '@import "//e.org/a.css";', "//e.org/a.css"),
    ("js", 's.src = "https://e.org/a.js"', "https://e.org/a.js"),
    ("js", 'import("https://e.org/a.js")', "https://e.org/a.js"),
    ("js", 'import x from "https://e.org/a.js"', "https://e.org/a.js"),
    ("js", 'new Worker("//e.org/w.js")', "//e.org/w.js"),
    ("svg", '<svg><use href="https://e.org/a.svg#x"/></svg>', "<use href>"),
]

HARMLESS = [
    ("html", '<a href="https://example.org/">a link</a>'),
    ("html", '<link rel="canonical" href="https://example.org/a.html">'),
    ("html", '<img src="data:image/png;base64,aa//bb==" alt="x">'),
    ("html", '<script src="_static/a.js?digest=1"></script>'),
    ("html", '<script>const n = "http://www.w3.org/2000/svg"; // a // b</script>'),
    ("html", '<script type="application/json">{"home": "https://example.org"}</script>'),
    ("css", "/* https://example.org/licence */ a { src: url(../fonts/a.woff2) }"),
    ("js", '// see https://example.org\nconst home = "https://example.org/";'),
    ("svg", '<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>'),
]


@pytest.mark.parametrize(("kind", "text", "found"), EXTERNAL)
def test_what_a_browser_would_load_from_elsewhere_is_found(kind, text, found, tmp_path):
    (tmp_path / f"page.{kind}").write_text(text)
    [line] = offline.external_loads(tmp_path)
    assert line.startswith(f"page.{kind}: ")
    assert found in line


@pytest.mark.parametrize(("kind", "text"), HARMLESS)
def test_links_and_local_files_are_left_in_peace(kind, text, tmp_path):
    (tmp_path / f"page.{kind}").write_text(text)
    assert list(offline.external_loads(tmp_path)) == []


def test_offline_puts_mathjax_in_and_takes_thebe_out(tmp_path):
    page = (
        '<script>const THEBE_JS_URL = "https://unpkg.com/thebe@0.8.2/lib/index.js"; x</script>\n'
        '<script async="async" src="_static/sphinx-thebe.js?v=c100c467"></script>\n'
        '<link rel="stylesheet" type="text/css" href="_static/sphinx-thebe.css?v=4fa983c6" />\n'
        '<script type="text/x-thebe-config">{}</script><p>kept</p>'
    )
    (tmp_path / "index.html").write_text(page)
    assert offline.make_offline(tmp_path) == []
    assert "thebe" not in (tmp_path / "index.html").read_text()
    assert "<p>kept</p>" in (tmp_path / "index.html").read_text()
    mathjax = tmp_path / "_static" / "mathjax"
    assert "cdn.jsdelivr.net" not in (mathjax / "tex-mml-chtml.js").read_text(encoding="utf-8")
    assert list((mathjax / "output" / "chtml" / "fonts").rglob("*.woff"))


def test_a_page_that_still_loads_from_elsewhere_fails_the_command(tmp_path, capsys):
    (tmp_path / "index.html").write_text('<img src="https://e.org/a.png">')
    assert offline.main([str(tmp_path)]) == 1
    assert "index.html: <img src> https://e.org/a.png" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="site must be a folder with index.html, got"):
        offline.make_offline(tmp_path / "nothing")


# --- the site that was built -------------------------------------------------------------------


@pytest.fixture(scope="module")
def site():
    if not (SITE / "index.html").is_file():
        pytest.skip("no site is built: run `python run.py book`")
    return SITE


@pytest.fixture(scope="module")
def pages(site):
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in found}


class Page(HTMLParser):
    """References and pictures of one page."""

    def __init__(self, text):
        super().__init__()
        self.local, self.ids, self.silent = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id"))
        for name in ("src", "href"):
            address = values.get(name) or ""
            if address and not re.match(r"[a-z][a-z0-9+.-]*:|//|#", address):
                self.local.append(address)
        if tag == "img" and not (values.get("alt") or "").strip():
            self.silent.append(values.get("src", "")[:60])


@pytest.mark.browser
def test_no_page_loads_anything_from_another_host(site):
    assert list(offline.external_loads(site)) == []


@pytest.mark.browser
def test_every_local_reference_of_every_page_is_there(site, pages):
    missing = set()
    for name, text in pages.items():
        for address in Page(text).local:
            path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
            if path and not (site / name).parent.joinpath(path).resolve().exists():
                missing.add(f"{name}: {address}")
    assert missing == set()


@pytest.mark.browser
def test_every_picture_has_a_text_alternative(pages):
    silent = {name: Page(text).silent for name, text in pages.items()}
    assert {name: found for name, found in silent.items() if found} == {}


@pytest.mark.browser
def test_no_page_shows_stderr_or_widget_state(pages):
    for name, text in pages.items():
        assert "output stderr" not in text, name
        assert "application/vnd.jupyter.widget" not in text, name


@pytest.mark.browser
def test_the_picture_of_the_system_leads_to_every_part(pages):
    page = Page(pages["book/intro.html"])
    targets = set(re.findall(r'href="#(part-\w+)"', pages["book/intro.html"]))
    assert len(targets) == 13
    assert targets <= page.ids


class Browser:
    """A headless Chromium without a network, driven through its debugging socket."""

    def __init__(self, address):
        parts = urllib.parse.urlsplit(address)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        while not self._line().strip() == b"":
            pass
        self.number = 0
        self.requested = []
        self.errors = []
        for domain in ("Network", "Page", "Runtime"):
            self.call(f"{domain}.enable")

    def _bytes(self, n):
        data = b""
        while len(data) < n:
            chunk = self.socket.recv(n - len(data))
            if not chunk:
                raise ConnectionError("the browser closed the connection")
            data += chunk
        return data

    def _line(self):
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._bytes(1)
        return line

    def _receive(self):
        text, last = b"", False
        while not last:
            first, second = self._bytes(2)
            last, length = bool(first & 0x80), second & 0x7F
            if length > 125:
                size, code = ((2, ">H"), (8, ">Q"))[length == 127]
                [length] = struct.unpack(code, self._bytes(size))
            text += self._bytes(length)
        return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        data = json.dumps({"id": self.number, "method": method, "params": params}).encode()
        mask = os.urandom(4)
        head = bytes([0x81, 0xFE]) + struct.pack(">H", len(data))
        self.socket.sendall(head + mask + bytes(b ^ mask[n % 4] for n, b in enumerate(data)))
        while True:
            message = self._receive()
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"]["text"])
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    def run(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def until(self, expression, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(expression):
                return value
            time.sleep(0.1)
        raise AssertionError(f"not so within {seconds} s: {expression}")

    def open(self, path, query=""):
        self.requested, self.errors = [], []
        self.call("Page.navigate", url=path.as_uri() + query)
        self.until("document.readyState === 'complete'")


@contextmanager
def running_chromium(folder):
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        "--remote-debugging-port=0 --remote-allow-origins=* --disable-dev-shm-usage"
    ).split()
    command = [CHROMIUM, *flags, "--host-resolver-rules=MAP * ~NOTFOUND",
               f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = folder / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (port_file.is_file() and port_file.read_text().strip()):
            assert process.poll() is None, "Chromium ended at once"
            assert time.monotonic() < end, "Chromium did not open its debugging port"
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        listed = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30))
        page = next(target for target in listed if target["type"] == "page")
        yield Browser(page["webSocketDebuggerUrl"])
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with running_chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


def first_page_with(pages, text, under="notebooks/"):
    names = [name for name, page in pages.items() if text in page and name.startswith(under)]
    if not names:
        pytest.skip(f"no page under {under} of this build has {text!r}")
    return names[0]


@pytest.mark.browser
def test_the_browser_has_no_network(browser, site):
    browser.open(site / "book" / "notation.html")
    browser.run("fetch('https://example.org').then(() => window.net = 1, () => window.net = -1)")
    assert browser.until("window.net") == -1


@pytest.mark.browser
def test_a_formula_is_rendered_without_a_network(browser, site):
    browser.open(site / "book" / "notation.html")
    browser.until("document.querySelectorAll('mjx-container').length > 10")
    width = browser.run("document.querySelector('mjx-container').getBoundingClientRect().width")
    assert width > 3
    assert browser.run("document.querySelectorAll('mjx-merror').length") == 0
    assert {urllib.parse.urlsplit(url).scheme for url in browser.requested} <= {"file", "data"}
    assert browser.errors == []
    browser.until("[...document.fonts].some(f => f.family.includes('MJX') && f.status==='loaded')")


@pytest.mark.browser
def test_formulas_of_every_page_are_understood(browser, site, pages):
    for name, text in pages.items():
        if 'class="math' in text:
            browser.open(site / name)
            browser.until("document.querySelector('mjx-container') !== null")
            browser.until("MathJax.startup.promise.then(() => window.set = 1) && window.set === 1")
            wrong = "[...document.querySelectorAll('mjx-merror')].map(e => e.title || e.innerText)"
            assert browser.run(wrong) == [], name


@pytest.mark.browser
def test_a_figure_is_shown_without_a_network(browser, site, pages):
    name = first_page_with(pages, "data:image/png")
    browser.open(site / name)
    picture = "document.querySelector('img[src^=\"data:image/png\"]')"
    browser.until(f"{picture}.complete && {picture}.naturalWidth > 100")
    assert {urllib.parse.urlsplit(url).scheme for url in browser.requested} <= {"file", "data"}


@pytest.mark.browser
def test_a_slider_changes_its_own_picture_only(browser, site, pages):
    browser.open(site / first_page_with(pages, "slider-figure"))
    shown = (
        "[...document.querySelectorAll('.slider-figure')].map(box => "
        "[...box.querySelectorAll('img')].findIndex(img => img.offsetParent !== null))"
    )
    before = browser.run(shown)
    browser.run(
        "const bar = document.querySelector('.slider-figure input'); bar.value = 1;"
        "bar.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert before == [0] * len(before)
    assert browser.run(shown) == [1, *before[1:]]
    assert browser.errors == []


@pytest.mark.browser
def test_the_storefront_shows_the_customer_that_was_chosen(browser, site):
    browser.open(site / "book" / "storefront.html")
    browser.until("document.querySelectorAll('.sf-card img').length >= 40")
    shown = (
        "JSON.stringify([document.querySelector('.sf-who').textContent, "
        "[...document.querySelectorAll('.sf-row img')].map(img => img.title)])"
    )
    first = json.loads(browser.run(shown))
    browser.run("document.querySelector('[aria-label=\"next customer\"]').click()")
    second = json.loads(browser.run(shown))
    assert first[0] != second[0] and first[1] != second[1]
    browser.run("document.querySelector('[aria-label=\"previous customer\"]').click()")
    assert json.loads(browser.run(shown)) == first
    browser.run(
        "const list = document.getElementById('sf-customer'); list.value = 1;"
        "list.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert json.loads(browser.run(shown)) == second
    assert browser.errors == []


@pytest.mark.browser
def test_the_storefront_marks_what_was_bought_next_in_words(browser, site):
    browser.open(site / "book" / "storefront.html")
    browser.until("document.querySelectorAll('.sf-card').length >= 40")
    bought = browser.run("document.querySelector('.sf-next img').title")
    ringed = "[...document.querySelectorAll('.sf-hit .sf-picture img')].map(img => img.title)"
    words = "[...document.querySelectorAll('.sf-hit strong')].map(mark => mark.textContent)"
    titles = browser.run(ringed)
    assert titles and set(titles) == {bought}
    assert browser.run(words) == ["bought next"] * len(titles)


@pytest.mark.browser
def test_the_storefront_fits_a_phone(browser, site):
    size = {"height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", width=380, **size)
    browser.open(site / "book" / "storefront.html")
    browser.until("document.querySelectorAll('.sf-card').length >= 40")
    width = browser.run("document.documentElement.scrollWidth")
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert width == 380


@pytest.mark.browser
def test_the_search_finds_a_page_without_a_network(browser, site):
    browser.open(site / "search.html", "?q=regularisation")
    found = "document.querySelectorAll('#search-results li').length"
    browser.until(f"{found} > 0")
    links = browser.run("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
    assert any("book/glossary.html" in link or "book/notation.html" in link for link in links)
    assert {urllib.parse.urlsplit(url).scheme for url in browser.requested} <= {"file", "data"}


# --- README ------------------------------------------------------------------------------------


def fenced(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_both_readmes_show_the_same_twelve_lines():
    [english], [chinese] = fenced("README.md", "python"), fenced("README.zh-CN.md", "python")
    assert english == chinese
    assert len(english.splitlines()) == 12


def test_the_lines_in_the_readme_run_and_show_that_learning_pays(tmp_path):
    [code] = fenced("README.md", "python")
    environment = {**os.environ, "RECLIB_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    first, second, *rest = run.stdout.splitlines()
    popularity, ease = (float(line.split()[-1]) for line in (first, second))
    assert first.startswith("Popularity")
    assert ease > 1.2 * popularity
    assert len(re.findall(r"\d+", " ".join(rest))) == 10


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md"])
def test_local_links_of_the_readmes_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", prose)
    missing = [t for t in targets if "://" not in t and not (ROOT / t).exists()]
    assert missing == [t for t in missing if t.startswith("../")]


def test_the_citation_names_the_version_of_the_package():
    import reclib

    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {reclib.__version__}\n" in text

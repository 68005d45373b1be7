"""Make a built site stand on its own: nothing on a page may come from another host.

``python book/offline.py _build/html`` copies MathJax out of the pinned package
``sphinx-mathjax-offline``, removes what would start an outside service, and then reads every page,
style sheet and script again; whatever a browser would still load from elsewhere is printed, and
the exit status is 1.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

MATHJAX_PACKAGE = "sphinx-mathjax-offline"
MATHJAX_PARTS = (
    "tex-mml-chtml.js",
    "input/tex/extensions",
    "output/chtml/fonts",
    "a11y",  # what a screen reader switches on from the formula's menu
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
)
_CDN = "https://cdn.jsdelivr.net/npm/"

# Thebe runs cells on a public Binder; the theme's extension adds it to every page unasked.
_UNWANTED_SCRIPT = re.compile(
    r"[ \t]*<script\b[^>]*>[^<]*(?:THEBE_JS_URL|kernelName = )[^<]*</script>\n?"
    r"|[ \t]*<script\b[^>]*\btype=\"text/x-thebe-config\"[^>]*>[^<]*</script>\n?"
    r"|[ \t]*<script\b[^>]*\bsrc=\"[^\"]*sphinx-thebe\.js[^\"]*\"[^>]*></script>\n?"
    r"|[ \t]*<link\b[^>]*\bhref=\"[^\"]*sphinx-thebe\.css[^\"]*\"[^>]*/?>\n?"
)
_UNWANTED_FILES = ("sphinx-thebe.js", "sphinx-thebe.css")

_LOADING_RELATIONS = frozenset(
    "stylesheet preload modulepreload prefetch prerender preconnect dns-prefetch icon manifest "
    "apple-touch-icon mask-icon".split()
)
_LOADING_ATTRIBUTES = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "iframe": ("src", "srcdoc"),
    "frame": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "base": ("href",),
    "body": ("background",),
}
_DATA_SCRIPT = re.compile(r"json|x-thebe|text/x-|text/plain|math/tex", re.IGNORECASE)

_EXTERNAL = re.compile(r"(?:^|[\s,])(?:https?:)?//[\w\[]", re.IGNORECASE)
_CSS_LOAD = re.compile(
    r"@import\s+[\"']?\s*((?:https?:)?//[^\s\"')]+)|url\(\s*[\"']?\s*((?:https?:)?//[^\s\"')]+)",
    re.IGNORECASE,
)
_INLINE_URL = re.compile(r"[\"'`]((?:https?:)?//[\w\[][^\"'`\s]*)[\"'`]", re.IGNORECASE)
_SCRIPT_LOAD = re.compile(
    r"(?:\.(?:src|href)\s*=|\bimportScripts\(|\bimport\(|\bfrom|\bimport|\bfetch\(|\bload\("
    r"|\bnew\s+(?:Shared)?Worker\(|setAttribute\(\s*[\"'](?:src|href)[\"']\s*,)\s*"
    r"[\"'`]((?:https?:)?//[^\"'`\s]+)",
    re.IGNORECASE,
)
_NAMESPACES = re.compile(r"https?://www\.w3\.org/|https?://schema\.org")


class _LoadFinder(HTMLParser):
    """Collects what a browser would load from elsewhere while it parses one page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        for name in _LOADING_ATTRIBUTES.get(tag, ()):
            if _EXTERNAL.search(values.get(name, "")):
                self.found.append(f"<{tag} {name}> {values[name].strip()}")
        if tag == "link" and _LOADING_RELATIONS & set(values.get("rel", "").lower().split()):
            if _EXTERNAL.search(values.get("href", "")):
                self.found.append(f"<link rel={values['rel']}> {values['href'].strip()}")
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            if "//" in values.get("content", ""):
                self.found.append(f"<meta refresh> {values['content']}")
        self.found += (f"style attribute {url}" for url in css_loads(values.get("style", "")))
        if tag == "style":
            self._inside = "style"
        elif tag == "script" and not _DATA_SCRIPT.search(values.get("type", "")):
            self._inside = "script"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"style", "script"}:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += (f"<style> {url}" for url in css_loads(data))
        elif self._inside == "script":
            self.found += (f"inline script {url}" for url in inline_script_loads(data))


def css_loads(text: str) -> list[str]:
    """Return addresses on other hosts that a style sheet loads."""
    return [first or second for first, second in _CSS_LOAD.findall(text)]


def inline_script_loads(text: str) -> list[str]:
    """Return every quoted address on another host in a page's own script, namespaces excepted."""
    return [url for url in _INLINE_URL.findall(text) if not _NAMESPACES.match(url)]


def script_loads(text: str) -> list[str]:
    """Return addresses on other hosts that a script file assigns to a source or imports."""
    return [url for url in _SCRIPT_LOAD.findall(text) if not _NAMESPACES.match(url)]


def html_loads(text: str) -> list[str]:
    """Return what a browser would load from another host while showing this page."""
    finder = _LoadFinder()
    finder.feed(text)
    finder.close()
    return finder.found


_READERS = {".html": html_loads, ".css": css_loads, ".js": script_loads, ".svg": html_loads}


def external_loads(site: Path) -> Iterator[str]:
    """Yield one line, *file: what is loaded*, per address on another host in a built site."""
    for path in sorted(site.rglob("*")):
        reader = _READERS.get(path.suffix.lower())
        if reader is None or not path.is_file():
            continue
        for found in reader(path.read_text(encoding="utf-8", errors="replace")):
            yield f"{path.relative_to(site).as_posix()}: {found}"


def copy_mathjax(site: Path) -> None:
    """Copy the parts of MathJax that the pages use into ``_static/mathjax``."""
    try:
        distribution = importlib.metadata.distribution(MATHJAX_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise FileNotFoundError(
            f"{MATHJAX_PACKAGE} must be installed (extra 'book'), it carries MathJax"
        ) from error
    source = Path(str(distribution.locate_file(f"{MATHJAX_PACKAGE}/static/mathjax")))
    target = site / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        destination = target / part
        destination.parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, destination, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / part, destination)
    for script in target.rglob("*.js"):  # fall-backs for old browsers name a public host
        text = script.read_text(encoding="utf-8")
        if _CDN in text:
            script.write_text(text.replace(_CDN, "./"), encoding="utf-8", newline="\n")


def remove_outside_services(site: Path) -> None:
    """Take Thebe, which would load from a public host, out of every page."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        cleaned = _UNWANTED_SCRIPT.sub("", text)
        if cleaned != text:
            page.write_text(cleaned, encoding="utf-8", newline="\n")
    for name in _UNWANTED_FILES:
        (site / "_static" / name).unlink(missing_ok=True)


def make_offline(site: Path) -> list[str]:
    """Complete a built site in place and return what it would still load from elsewhere."""
    if not (site / "index.html").is_file():
        raise FileNotFoundError(f"site must be a folder with index.html, got {site}")
    copy_mathjax(site)
    remove_outside_services(site)
    return list(external_loads(site))


def main(arguments: list[str]) -> int:
    """Run the command line: one argument, the folder of the built site."""
    if len(arguments) != 1:
        print("usage: python book/offline.py HTML_FOLDER", file=sys.stderr)
        return 2
    left = make_offline(Path(arguments[0]))
    for line in left:
        print(f"loaded from another host: {line}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

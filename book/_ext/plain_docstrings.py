"""Sphinx extension: show the package's plain docstrings as they are meant.

Docstrings are written to be read in the source: equations stand indented, labels such as
``Source:`` begin a line, and ``|x|`` is an absolute value. reStructuredText reads these
otherwise, so the text before the first Google section is brought into its form here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_SECTION = re.compile(
    r"^(Args|Arguments|Returns|Return|Yields|Raises|Attributes|Example|Examples|Note|Notes|"
    r"Warns|Other Parameters|Keyword Args|See Also|Todo):\s*$"
)
_LABEL = re.compile(r"^(Source|Differences from the (?:paper|spec)|Chapter|Shapes?):")
_ITEM = re.compile(r"^(\s*)(\d+\.|[-*])\s+(\S.*)$")
_LITERAL_SPANS = re.compile(r"(``.+?``|:[\w:]+:`[^`]+`|`[^`]+`_?_?)", re.DOTALL)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _escape(text: str) -> str:
    """Escape what would be a substitution or a reference, outside of literal spans."""
    parts = _LITERAL_SPANS.split(text)
    for position in range(0, len(parts), 2):
        parts[position] = re.sub(r"\|", r"\\|", parts[position])
        parts[position] = re.sub(r"(\w)_(?!\w)", r"\1\\_", parts[position])
    return "".join(parts)


def _blocks(lines: Sequence[str]) -> list[list[str]]:
    """Split at blank lines, and before labels and lists that follow a paragraph directly."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        previous = blocks[-1][-1] if blocks[-1] else ""
        starts_list = bool(_ITEM.match(line)) and not _ITEM.match(blocks[-1][0] if previous else "")
        indents = bool(previous) and _indent(line) > _indent(previous) == 0
        formula = indents and not _LABEL.match(blocks[-1][0]) and not _ITEM.match(blocks[-1][0])
        if not line.strip() or _LABEL.match(line) or starts_list or formula:
            blocks.append([])
        if line.strip():
            blocks[-1].append(line)
    return [block for block in blocks if block]


def _list(block: Sequence[str]) -> list[str]:
    out: list[str] = []
    width = 0
    for line in block:
        item = _ITEM.match(line)
        if item:
            width = len(item[2]) + 1
            out += ["", f"{item[2]} {_escape(item[3])}"]
        else:
            out.append(" " * width + _escape(line.strip()))
    return out[1:]


def to_rst(lines: Sequence[str]) -> list[str]:
    """Return a docstring's lines as reStructuredText; Google sections are left to napoleon."""
    end = next((n for n, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    out: list[str] = []
    directive = False
    for block in _blocks(lines[:end]):
        directive = block[0].startswith(".. ") or (directive and _indent(block[0]) > 0)
        if directive:
            out += list(block)
        elif _ITEM.match(block[0]):
            out += _list(block)
        elif _indent(block[0]) > 0:
            out += [".. code-block:: text", "", *block]
        else:
            out += [_escape(line.strip()) for line in block]
        out.append("")
    return out + list(lines[end:])


def _process(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)


def setup(app: Any) -> dict[str, bool]:
    """Connect the extension, before napoleon."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Write the pages of the book that follow from its chapters, its results and its last execution.

``generate(root, staging, executions)`` fills the staged copy of ``book/``: the reader's paths and
the fourteen-week plan in the introduction, the results, the coverage of the article, the status of
the build, and one API page per module. ``python book/generate.py --readme`` rewrites the generated
blocks of both READMEs. Nothing here reads a clock, so equal inputs give equal pages.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

READMES = {"README.md": "en", "README.zh-CN.md": "zh"}
N_WEEKS = 14
SIMULATED = "shop"
SHELVES = "shelves.html"  # what book/storefront.py makes


_MARKED = r"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)"
_CLAIM = re.compile(r"^\| (A\d+) \| (.+?) \| ([^|]+) \|$", re.MULTILINE)
_CHAPTER = re.compile(r"`([a-z_]+/[a-z_]+)`")


@dataclass(frozen=True)
class Part:
    """A part of the book: its chapters in order, written or planned, and its weeks."""

    name: str
    title: str
    title_zh: str
    about: str
    chapters: tuple[str, ...]
    weeks: tuple[int, ...]


@dataclass(frozen=True)
class Chapter:
    """What one notebook says of itself."""

    name: str  # part/stem
    title: str
    title_zh: str
    level: str
    requires: tuple[str, ...]
    minutes_read: int
    minutes_exercises: int
    modules: tuple[str, ...]
    objectives: tuple[str, ...]

    @property
    def minutes(self) -> int:
        """Minutes to read the chapter and do its exercises."""
        return self.minutes_read + self.minutes_exercises


@dataclass(frozen=True)
class Book:
    """The parts and the written chapters, both in reading order."""

    root: Path
    parts: tuple[Part, ...]
    chapters: dict[str, Chapter]
    linked: frozenset[str] = field(default_factory=frozenset)  # chapters on this site

    def link(self, name: str, text: str | None = None, *, to: str = "../notebooks/") -> str:
        """Return a link to a chapter of this site, or its name where it is not on it."""
        text = text or (self.chapters[name].title if name in self.chapters else f"`{name}`")
        return f"[{text}]({to}{name}.ipynb)" if name in self.linked else text


def read_parts(root: Path) -> tuple[Part, ...]:
    """Read ``book/parts.toml``."""
    rows = tomllib.loads((root / "book" / "parts.toml").read_text(encoding="utf-8"))["part"]
    return tuple(
        Part(
            name=row["name"],
            title=row["title"],
            title_zh=row["title_zh"],
            about=row["about"],
            chapters=tuple(f"{row['name']}/{stem}" for stem in row["chapters"]),
            weeks=tuple(row["weeks"]),
        )
        for row in rows
    )


def toc_chapters(root: Path) -> list[str]:
    """Return the chapters (part/stem) of ``book/_toc.yml`` in reading order."""
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry.get("file", "") for part in toc["parts"] for entry in part["chapters"]]
    return [
        name.removeprefix("notebooks/").removesuffix(".ipynb")
        for name in files
        if name.startswith("notebooks/")
    ]


def read_chapter(path: Path, name: str) -> Chapter:
    """Read one notebook's title and ``reclib`` metadata."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    data: dict[str, Any] = notebook.get("metadata", {}).get("reclib", {})
    title = ""
    for cell in notebook.get("cells", []):
        match = re.search(r"^# (.+)$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and match:
            title = match.group(1).strip()
            break
    return Chapter(
        name=name,
        title=title or name,
        title_zh=str(data.get("title_zh", "")),
        level=str(data.get("level", "core")),
        requires=tuple(data.get("requires", ())),
        minutes_read=int(data.get("minutes_read", 0)),
        minutes_exercises=int(data.get("minutes_exercises", 0)),
        modules=tuple(data.get("modules", ())),
        objectives=tuple(data.get("objectives", ())),
    )


def read_book(root: Path, site: Path | None = None) -> Book:
    """Read parts and chapters; links go to chapters that exist under ``site`` (default: root)."""
    chapters: dict[str, Chapter] = {}
    linked = set()
    for name in toc_chapters(root):
        path = root / "notebooks" / f"{name}.ipynb"
        if path.is_file():
            chapters[name] = read_chapter(path, name)
        if ((site or root) / "notebooks" / f"{name}.ipynb").is_file():
            linked.add(name)
    return Book(root, read_parts(root), chapters, frozenset(linked))


# --- plan, paths, map --------------------------------------------------------------------------


def weekly_plan(parts: Sequence[Part]) -> list[list[str]]:
    """Spread each part's chapters evenly over its weeks, in order; one list per week."""
    weeks: list[list[str]] = [[] for _ in range(N_WEEKS)]
    for part in parts:
        for position, name in enumerate(part.chapters):
            week = part.weeks[position * len(part.weeks) // len(part.chapters)]
            weeks[week - 1].append(name)
    return weeks


def render_plan(book: Book) -> str:
    """Return the fourteen-week plan as a table."""
    titles = {name: part.title for part in book.parts for name in part.chapters}
    rows = []
    for number, names in enumerate(weekly_plan(book.parts), start=1):
        written = [name for name in names if name in book.chapters]
        planned = [name.split("/")[1].replace("_", " ") for name in names if name not in written]
        minutes = sum(book.chapters[name].minutes for name in written)
        parts = ", ".join(dict.fromkeys(titles[name] for name in names))
        rows.append(
            f"| {number} | {parts} | {'; '.join(book.link(name) for name in written) or '–'} "
            f"| {minutes or '–'} | {', '.join(planned) or '–'} |"
        )
    head = "| week | part | chapters to read now | minutes with exercises | planned |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def render_parts(book: Book) -> str:
    """Return the table of parts that the boxes of the system's picture lead to."""
    rows = []
    for part in book.parts:
        written = [name for name in part.chapters if name in book.chapters]
        links = ", ".join(book.link(name) for name in written) or "planned"
        anchor = f'<span id="part-{part.name}"></span>'
        rows.append(f"| {anchor}{part.title} {part.title_zh} | {part.about} | {links} |")
    return "\n".join(["| part | about | chapters |", "|---|---|---|", *rows])


def render_storefront(root: Path, pages: Path) -> str:
    """Return the storefront's page, with the shelves where the build has made them."""
    text = (root / "book" / "storefront.md").read_text(encoding="utf-8")
    if not (pages / SHELVES).is_file():
        return text
    return replace_marked(text, "shelves", f"```{{raw}} html\n:file: {SHELVES}\n```")


def render_system(root: Path) -> str:
    """Return the system's picture as inline SVG, so that its boxes are links."""
    svg = (root / "book" / "images" / "system.svg").read_text(encoding="utf-8").strip()
    return f"```{{raw}} html\n<figure>{svg}</figure>\n```"


def _path_items(book: Book, names: Iterable[str]) -> str:
    lines = []
    for number, name in enumerate(names, start=1):
        chapter = book.chapters[name]
        times = f"{chapter.minutes_read} min, exercises {chapter.minutes_exercises} min"
        lines.append(f"{number}. {book.link(name)} ({times})")
    return "\n".join(lines) or "No chapter is written yet."


def render_paths(book: Book) -> str:
    """Return the three paths through the book: learner, educator, engineer."""
    core = [name for name, chapter in book.chapters.items() if chapter.level == "core"]
    modules = [
        f"| [`{module}`](api/{module.replace('.', '_')}.md) | {book.link(name)} "
        f"| {', '.join(book.link(other) for other in chapter.requires) or '–'} |"
        for name, chapter in book.chapters.items()
        for module in chapter.modules
    ]
    total = sum(chapter.minutes for chapter in book.chapters.values())
    exercises = sum(chapter.minutes_exercises for chapter in book.chapters.values())
    return "\n".join(
        [
            "### Learner",
            "",
            "Read the core chapters in order, predict before you run, and do the exercises.",
            "",
            _path_items(book, core),
            "",
            "### Educator",
            "",
            f"The {len(book.chapters)} chapters written so far take {total} minutes, "
            f"{exercises} of them for exercises that grade themselves. `python run.py student "
            "--seed S` writes a class's own copies, `python run.py grade` prints the points, and "
            "both work without a network. The plan below spreads the whole book over a term.",
            "",
            render_plan(book),
            "",
            "### Engineer",
            "",
            "Start from the module you need. Its chapter says why it is written as it is, where "
            "it fails and what it costs; read what comes before only when you miss something.",
            "",
            "| module | chapter | before it |",
            "|---|---|---|",
            *modules,
        ]
    )


def render_map(book: Book, language: str) -> str:
    """Return README's map of parts and chapters."""
    chinese = language == "zh"
    head = (
        "| 部分 | 已完成的章节 | 分钟 | 计划中 |"
        if chinese
        else "| part | chapters written | minutes | planned |"
    )
    rows = []
    for part in book.parts:
        written = [name for name in part.chapters if name in book.chapters]
        links = "; ".join(
            book.link(
                name,
                (book.chapters[name].title_zh if chinese else "") or book.chapters[name].title,
                to="notebooks/",
            )
            for name in written
        )
        minutes = sum(book.chapters[name].minutes for name in written)
        title = part.title_zh if chinese else f"{part.title}: {_lower_first(part.about)}"
        n_planned = len(part.chapters) - len(written)
        rows.append(f"| {title} | {links or '–'} | {minutes or '–'} | {n_planned or '–'} |")
    return "\n".join([head, "|---|---|---|---|", *rows])


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:]


# --- results -----------------------------------------------------------------------------------


def read_results(root: Path) -> list[dict[str, Any]]:
    """Read our rows, ``data/results/*.json``, in the order of their names."""
    rows = []
    for path in sorted((root / "data" / "results").glob("*.json")):
        rows.append({"row": path.stem, **json.loads(path.read_text(encoding="utf-8"))})
    return rows


def read_published(root: Path) -> list[dict[str, Any]]:
    """Read ``data/published.toml`` and refuse numbers that may not be printed."""
    text = (root / "data" / "published.toml").read_text(encoding="utf-8")
    tables: list[dict[str, Any]] = tomllib.loads(text)["table"]
    for table in tables:
        if table["dataset"] == SIMULATED:
            raise ValueError("dataset must not be simulated in published.toml, got 'shop'")
        for row in table["rows"]:
            if row.get("read") not in {"primary", "quoted"}:
                raise ValueError(f"read must be 'primary' or 'quoted', got {row.get('read')!r}")
            if not row.get("source"):
                raise ValueError(f"source must be named for {row.get('model')!r}, got none")
    return tables


def _mean(value: Any) -> float | None:
    number = value.get("mean") if isinstance(value, Mapping) else value
    return None if number is None else float(number)


def _format_metric(value: Any) -> str:
    mean = _mean(value)
    if mean is None:
        return "–"
    mean = round(mean, 4) + 0.0  # no negative zero
    text = f"{mean:.4f}".replace("0.", ".", 1) if abs(mean) < 1 else f"{mean:.4g}"
    if isinstance(value, Mapping):
        if value.get("low") is not None and value.get("high") is not None:
            half = (float(value["high"]) - float(value["low"])) / 2
            text += f" ± {f'{half:.4f}'.removeprefix('0')}"
        if value.get("std") and (value.get("n_seeds") or 1) > 1:
            spread = f"{float(value['std']):.4f}".removeprefix("0")
            text += f" (std {spread} over {value['n_seeds']} runs)"
    return text


def _seconds(value: Any) -> str:
    parts = value if isinstance(value, Mapping) else {"": value}
    numbers = {name: _mean(part) for name, part in parts.items()}
    return ", ".join(f"{name} {n:.2f} s".strip() for name, n in numbers.items() if n is not None)


def _mebibytes(value: Any) -> str:
    parts = value if isinstance(value, Mapping) else {"": value}
    numbers = {name: _mean(part) for name, part in parts.items()}
    return ", ".join(f"{name} {n:,.0f} MiB".strip() for name, n in numbers.items() if n is not None)


def _options(row: Mapping[str, Any]) -> str:
    options = row.get("options") or {}
    return ", ".join(f"{name}={value}" for name, value in options.items() if name != "seed")


def _our_row(row: Mapping[str, Any], metrics: Sequence[str]) -> str:
    label = f"**{row['model']}** {_options(row)}".strip()
    values = [_format_metric(row["metrics"].get(metric)) for metric in metrics]
    fit = [{"fit": (row.get(cost) or {}).get("fit")} for cost in ("seconds", "memory_mib")]
    remarks = [f"ours, `{row['row']}`", row.get("note") or "", _seconds(fit[0]), _mebibytes(fit[1])]
    return _cells([label, *values, _joined(remarks)])


def _published_row(row: Mapping[str, Any], metrics: Sequence[str]) -> str:
    values = [_format_metric(row.get(metric)) for metric in metrics]
    source = row["source"] + (" (quoted)" if row["read"] == "quoted" else "")
    return _cells([row["model"], *values, _joined([source, row.get("note", "")])])


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part)


def _cells(values: Iterable[object]) -> str:
    cleaned = [str(value).replace("|", "\\|").replace("\n", " ") for value in values]
    return "| " + " | ".join(cleaned) + " |"


def _results_table(
    ours: Sequence[Mapping[str, Any]],
    published: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
) -> str:
    """Return one table, best last metric first; for errors, smallest first metric first."""
    errors = metrics[0] in {"rmse", "mae"}
    by = metrics[0] if errors else metrics[-1]

    def place(value: Any) -> float:
        mean = _mean(value)
        return float("inf") if mean is None else mean if errors else -mean

    rows = [(place(row["metrics"].get(by)), _our_row(row, metrics)) for row in ours]
    rows += [(place(row.get(by)), _published_row(row, metrics)) for row in published]
    rows.sort(key=lambda pair: pair[0])
    head = _cells(["model", *metrics, "source and remarks"])
    return "\n".join([head, "|" + "---|" * (len(metrics) + 2), *(text for _, text in rows)])


def _comparison_table(row: Mapping[str, Any]) -> str:
    """Return a row whose metrics are called *metric, kind, model* as models by kinds."""
    parts = [name.split(", ") for name in row["metrics"]]
    kinds = list(dict.fromkeys(f"{metric}, {kind}" for metric, kind, _ in parts))
    models = list(dict.fromkeys(model for _, _, model in parts))
    lines = [
        _cells([model, *(_format_metric(row["metrics"].get(f"{k}, {model}")) for k in kinds)])
        for model in models
    ]
    first = "" if row["dataset"] == SIMULATED else "model"
    head = [_cells([first, *kinds]), "|" + "---|" * (len(kinds) + 1)]
    cost = [_seconds(row.get("seconds") or {}), _mebibytes(row.get("memory_mib") or {})]
    tail = _joined([f"Ours, row `{row['row']}`", row.get("note") or "", *cost])
    return "\n".join([*head, *lines]) + f"\n\n{tail}."


def _is_comparison(row: Mapping[str, Any]) -> bool:
    return all(name.count(", ") == 2 for name in row["metrics"])


def _common_metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    seen = dict.fromkeys(name for row in rows for name in row["metrics"])
    preferred = [name for name in ("recall@10", "ndcg@10", "recall@20", "ndcg@20") if name in seen]
    return preferred or list(seen)[:4]


def _machine(rows: Sequence[Mapping[str, Any]]) -> str:
    machines = dict.fromkeys(json.dumps(row.get("machine"), ensure_ascii=False) for row in rows)
    words = [json.loads(text) for text in machines if text != "null"]
    return "; ".join(
        ", ".join(f"{k} {v}" for k, v in m.items()) if isinstance(m, dict) else str(m)
        for m in words
    )


def _section(
    title: str, lines: Sequence[str], ours: Sequence[Mapping[str, Any]], table: str
) -> str:
    facts = [line.strip() for line in lines if line]
    if ours:
        protocols = dict.fromkeys(str(row.get("protocol") or "") for row in ours)
        facts.append("Our protocol: " + "; ".join(text for text in protocols if text) + ".")
        dates = sorted(str(row["date"])[:10] for row in ours if row.get("date"))
        machine = _machine(ours)
        if dates:
            span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
            facts.append(f"Recorded {span}" + (f" on {machine}." if machine else "."))
    return "\n\n".join([f"## {title}", *facts, table])


def render_results(root: Path) -> str:
    """Return the results page: our rows beside published ones of the same protocol."""
    ours, published = read_results(root), read_published(root)
    sections: list[str] = []
    used: set[str] = set()
    for table in published:
        mine = [
            row
            for row in ours
            if row["dataset"] == table["dataset"] and row.get("split") in table["splits"]
        ]
        used.update(row["row"] for row in mine)
        if not mine and not table["rows"]:
            continue
        lines = [f"`{table['dataset']}`: {table['protocol']}.", table.get("note", "")]
        body = _results_table(mine, table["rows"], table["metrics"])
        sections.append(_section(table["title"], lines, mine, body))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in ours:
        if row["row"] not in used:
            groups.setdefault((row["dataset"], str(row.get("split"))), []).append(row)
    for (dataset, split), mine in groups.items():
        simulated = dataset == SIMULATED
        lines = [f"`{dataset}`: {split}."]
        if simulated:
            lines.append("Simulated data: nothing published is comparable.")
        title = f"The simulated shop: {split}" if simulated else f"{dataset}, {split}"
        tables = [_comparison_table(row) for row in mine if _is_comparison(row)]
        plain = [row for row in mine if not _is_comparison(row)]
        if plain:
            tables.append(_results_table(plain, [], _common_metrics(plain)))
        sections.append(_section(title, lines, mine, "\n\n".join(tables)))
    if beside := [row for row in ours if row.get("peer")]:
        sections.append(_render_peers(beside))
    if not ours:
        sections.insert(0, "No row of ours has been recorded yet.")
    return "\n\n".join([_RESULTS_HEAD, *sections]) + "\n"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _render_peers(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what was measured when ours and a peer ran in turn on the same data and threads."""
    lines = []
    for row in rows:
        peer = row["peer"]
        facts = [
            f"{name} {_number(value)}"
            for name, value in peer.items()
            if name not in {"name", "seconds"}
        ]
        ours, theirs = _seconds(row.get("seconds") or {}), _seconds(peer.get("seconds") or {})
        lines.append(_cells([f"`{row['row']}`", ours, peer["name"], theirs, "; ".join(facts)]))
    return "\n".join(
        [
            "## Beside a peer",
            "",
            "Ours and the peer ran in turn, several times, in one process with the same threads; "
            "times are medians.",
            "",
            "| row | ours | peer | the peer | compared |",
            "|---|---|---|---|---|",
            *lines,
        ]
    )


_RESULTS_HEAD = """# Results

Rows marked **ours** were written by `python run.py results` and by nothing else; each is a file in `data/results/` with the checksum of the data, the protocol, the machine, the versions and a hash of the code that made it.
The others were published by the people named, and stand in the same table only where data set, preparation and protocol agree. *(quoted)* means that the number was read in somebody else's quotation of the paper.
All ranking is against the whole catalogue. Values are means over test users; ± is half of the 95 % bootstrap interval over users. A number that we do not reach stays here with the gap."""  # noqa: E501


def render_glance(root: Path, language: str) -> str:
    """Return README's few results: our rows on real data, with the best published row beside."""
    ours = [row for row in read_results(root) if row["dataset"] != SIMULATED]
    if not ours:
        return "尚无记录。" if language == "zh" else "No row has been recorded yet."
    head = (
        "| 数据集 | 模型 | 指标 | 我们 | 已发表（同一协议） |"
        if language == "zh"
        else "| data set | model | metric | ours | published, same protocol |"
    )
    rows = []
    for table in read_published(root):
        mine = [
            row
            for row in ours
            if row["dataset"] == table["dataset"] and row.get("split") in table["splits"]
        ]
        rows += _glance_rows(table, mine)
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def _glance_rows(table: Mapping[str, Any], mine: Sequence[Mapping[str, Any]]) -> list[str]:
    metric = table["metrics"][-1]
    if metric in {"rmse", "mae"}:
        return []
    mine = [row for row in mine if _mean(row["metrics"].get(metric)) is not None]
    mine = sorted(mine, key=lambda row: -(_mean(row["metrics"][metric]) or 0.0))
    known = [row for row in table["rows"] if metric in row]
    best = max(known, key=lambda row: float(row[metric]), default={"model": None})
    beside = [
        f"{row['model']} {_format_metric(row[metric])}"
        for row in known
        if row["model"] in ("PopRec", "SASRec", "S3-Rec", best["model"])
    ]
    return [
        _cells(
            [
                f"`{table['dataset']}`",
                row["model"],
                metric,
                _format_metric(row["metrics"][metric]),
                ", ".join(beside) or "–",
            ]
        )
        for row in mine[:3]
    ]


# --- coverage, status, API ---------------------------------------------------------------------


def read_claims(root: Path) -> list[tuple[str, str, list[str]]]:
    """Read the article's claims from ``book/article.md``: number, words, chapters."""
    text = (root / "book" / "article.md").read_text(encoding="utf-8")
    return [
        (number, words, _CHAPTER.findall(chapters))
        for number, words, chapters in _CLAIM.findall(text)
    ]


def render_coverage(book: Book) -> str:
    """Return the coverage page: each claim of the article and the state of its chapters."""
    claims = read_claims(book.root)
    counts = {"written": 0, "in part": 0, "planned": 0}
    rows = []
    for number, words, names in claims:
        written = [name for name in names if name in book.chapters]
        state = "planned" if not written else "written" if len(written) == len(names) else "in part"
        counts[state] += 1
        places = ", ".join(book.link(name) for name in names)
        rows.append(f"| {number} | {words} | {places} | {state} |")
    planned = [name for part in book.parts for name in part.chapters if name not in book.chapters]
    return "\n".join(
        [
            "# Coverage",
            "",
            "Which claim of the [article](article.md) is answered where. *Written*: every chapter "
            "named is on this site; *in part*: some are; *planned*: none is yet.",
            "",
            f"Of {len(claims)} claims, {counts['written']} are written, {counts['in part']} in "
            f"part, {counts['planned']} planned. {len(book.chapters)} chapters are written, "
            f"{len(planned)} planned.",
            "",
            "| id | claim | chapters | state |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def render_status(book: Book, executions: Sequence[Mapping[str, Any]]) -> str:
    """Return the status page: time and memory of each executed chapter, and the versions."""
    head = ["# Status", "", "What this site was built from and what each chapter cost.", ""]
    if not executions:
        return "\n".join([*head, "No chapter was executed for this build.", ""])
    rows = sorted(executions, key=lambda row: -float(row["seconds"]))
    table = [
        f"| {book.link(str(row['chapter']))} | {float(row['seconds']):.1f} "
        f"| {float(row['peak_mib']):,.0f} | {row['profile']} | {row['device']} |"
        for row in rows
    ]
    total = sum(float(row["seconds"]) for row in rows)
    peak = max(float(row["peak_mib"]) for row in rows)
    versions = {k: v for row in rows for k, v in (row.get("versions") or {}).items()}
    return "\n".join(
        [
            *head,
            f"{len(rows)} chapters ran in {total:.0f} s; the largest needed {peak:,.0f} MiB.",
            "",
            "| chapter | seconds | peak memory, MiB | profile | device |",
            "|---|---|---|---|---|",
            *table,
            "",
            "| software | version |",
            "|---|---|",
            *(f"| {name} | {version} |" for name, version in sorted(versions.items())),
            "",
        ]
    )


def public_modules(root: Path) -> list[str]:
    """Return the dotted names of all public modules of the package, packages before modules."""
    names = []
    for path in sorted((root / "reclib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__main__" or any(
            part.startswith("_") and part != "__init__" for part in parts
        ):
            continue
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(names)


def _first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.strip().split("\n\n")[0].replace("\n", " ")


def _module_path(root: Path, module: str) -> Path:
    base = root.joinpath(*PurePosixPath(module.replace(".", "/")).parts)
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _defines_something(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in tree.body)


def render_api(root: Path) -> dict[str, str]:
    """Return the API pages by file name: an index and one page per module that defines names."""
    pages: dict[str, str] = {}
    rows = []
    for module in public_modules(root):
        path = _module_path(root, module)
        if not _defines_something(path):
            continue
        page = module.replace(".", "_")
        pages[f"{page}.md"] = (
            f"# {module.removeprefix('reclib.')}\n\n```{{eval-rst}}\n.. automodule:: {module}\n"
            "   :members:\n```\n"
        )
        rows.append(f"| [{module}]({page}.md) | {_first_sentence(path)} |")
    pages["index.md"] = "\n".join(
        [
            "# API",
            "",
            "Every public module of the package, with the sentence that opens it.",
            "",
            "| module | what it is |",
            "|---|---|",
            *rows,
            "",
        ]
    )
    return pages


# --- writing -----------------------------------------------------------------------------------


def replace_marked(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- begin: name -->`` and ``<!-- end: name -->``."""
    pattern = re.compile(_MARKED.format(name=re.escape(name)), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"text must have the marks of block {name!r}, got none")
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _prune_toc(staging: Path) -> None:
    """Leave out of the staged table of contents the chapters that were not staged."""
    path = staging / "book" / "_toc.yml"
    toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    for part in toc["parts"]:
        part["chapters"] = [
            entry
            for entry in part["chapters"]
            if not entry.get("file", "").startswith("notebooks/")
            or (staging / f"{entry['file'].removesuffix('.ipynb')}.ipynb").is_file()
        ]
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    _write(path, yaml.safe_dump(toc, sort_keys=False, allow_unicode=True))


def generate(root: Path, staging: Path, executions: Sequence[Mapping[str, Any]]) -> None:
    """Write the generated pages into ``staging``, a copy of ``book/`` with executed chapters.

    Args:
        root: the checkout.
        staging: holds ``book/`` and ``notebooks/``; its pages are overwritten.
        executions: one mapping per executed chapter with chapter, seconds, peak_mib, device,
            versions and profile.
    """
    book = read_book(root, staging)
    pages = staging / "book"
    intro = (root / "book" / "intro.md").read_text(encoding="utf-8")
    intro = replace_marked(intro, "system", render_system(root))
    intro = replace_marked(intro, "parts", render_parts(book))
    _write(pages / "intro.md", replace_marked(intro, "paths", render_paths(book)))
    _write(pages / "storefront.md", render_storefront(root, pages))
    _write(pages / "results.md", render_results(root))
    _write(pages / "coverage.md", render_coverage(book))
    _write(pages / "status.md", render_status(book, executions))
    for name, text in render_api(root).items():
        _write(pages / "api" / name, text)
    _prune_toc(staging)


def render_readme(root: Path, name: str) -> str:
    """Return a README with its generated blocks brought up to date."""
    language = READMES[name]
    text = (root / name).read_text(encoding="utf-8")
    text = replace_marked(text, "map", render_map(read_book(root), language))
    return replace_marked(text, "glance", render_glance(root, language))


def main(arguments: Sequence[str]) -> int:
    """Run the command line: ``--readme`` rewrites both READMEs."""
    if list(arguments) != ["--readme"]:
        print("usage: python book/generate.py --readme", file=sys.stderr)
        return 2
    root = Path(__file__).resolve().parent.parent
    for name in READMES:
        _write(root / name, render_readme(root, name))
        print(f"{name}: chapter map and results are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

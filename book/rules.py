"""The house rules: what every chapter, module and page must keep to, checked without running it.

Each rule is a function from the root of a checkout to a list of problems, so that a test can show
that it passes on the book and fails on a bad example. ``python book/rules.py`` prints them all.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Problems = list[str]
Rule = Callable[[Path], Problems]

MAX_CELLS = 60
MAX_CODE_LINES = 12
MAX_WORDS = 3500
N_OBJECTIVES = (3, 4)
N_EXERCISES = (2, 3)
LONG_TAG = "long"  # a code cell that must be longer than MAX_CODE_LINES

# Chapters whose subject is not one module: their first module has another stem.
WITHOUT_OWN_MODULE = {"foundations/first_recommender": "it opens the book with popularity"}
# Packages whose modules need neither a chapter nor a test of their stem.
FREE_MODULES = {
    "reclib.plotting": "the book's figures",
    "reclib.datasets": "loaders, tested together",
}
# Modules that wait for their chapter; an entry goes when the chapter comes.
WAITING_MODULES: dict[str, str] = {}
MAY_TOUCH_TRUTH = ("reclib/shop/", "reclib/policies/environments", "notebooks/", "tests/",
                   "benchmarks/", "book/storefront.py")  # fmt: skip
FORBIDDEN_STEMS = {"utils", "util", "helpers", "helper", "base", "common", "misc"}

_METADATA = {
    "title_zh": str,
    "level": str,
    "requires": list,
    "minutes_read": int,
    "minutes_exercises": int,
    "modules": list,
    "objectives": list,
}
_SKIPPED = {"_build", "__pycache__", "student", "grades", "cache"}
_HIDDEN_BUT_OURS = {".ci", ".github"}
_CITE = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
_PY_ROLE = re.compile(r"\{py:\w+\}`(?:[^`<]*<)?~?([\w.]+)>?`")
_ABSOLUTE = re.compile(r"[\"'`(](?:/[A-Za-z_][\w.-]*/|~/|[A-Za-z]:[\\/]{1,2}\w)|/(?:home|Users)/\w")
_INSTALL = re.compile(
    r"^\s*[!%]|\b(?:pip3?|conda|mamba|uv|apt-get|apt)\s+(?:pip\s+)?install\b", re.M
)
_FILTER = re.compile(r"\bwarnings\.(?:filterwarnings|simplefilter|catch_warnings)\b")
_FOREIGN = re.compile(
    r"\b(?:pip3?|pipx|conda|mamba|uv)\s+(?:pip\s+)?(?:install|add)\s+(?:[^\s`\"']+\s+)*?"
    r"[\"'`]?reclib(?![\w.-])"
)
_PEERS = re.compile(r"\bassert_(?:close|allclose|array_equal|array_almost_equal|frame_equal)\b")


@dataclass(frozen=True)
class Notebook:
    """A chapter as the rules see it."""

    name: str  # part/stem
    raw: dict[str, Any]

    @property
    def cells(self) -> list[dict[str, Any]]:
        """All cells in order."""
        cells: list[dict[str, Any]] = self.raw["cells"]
        return cells

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Return the cells of one type."""
        return [cell for cell in self.cells if cell["cell_type"] == kind]

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the chapter's ``reclib`` metadata."""
        data: dict[str, Any] = self.raw.get("metadata", {}).get("reclib", {})
        return data

    @property
    def text(self) -> str:
        """Return all Markdown."""
        return "\n\n".join(source(cell) for cell in self.of_type("markdown"))

    @property
    def code(self) -> str:
        """Return all code."""
        return "\n\n".join(source(cell) for cell in self.of_type("code"))


def source(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    """Return the tags of a cell."""
    found: list[str] = cell.get("metadata", {}).get("tags", [])
    return found


def notebooks(tree: Path) -> Iterator[Notebook]:
    """Yield every chapter."""
    for path in sorted((tree / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            name = path.relative_to(tree / "notebooks").with_suffix("").as_posix()
            yield Notebook(name, json.loads(path.read_text(encoding="utf-8")))


def toc(tree: Path) -> list[str]:
    """Return the chapters of the table of contents, in order."""
    path = tree / "book" / "_toc.yml"
    parts = yaml.safe_load(path.read_text(encoding="utf-8"))["parts"]
    files = [entry.get("file", "") for part in parts for entry in part["chapters"]]
    return [name.removeprefix("notebooks/") for name in files if name.startswith("notebooks/")]


def _each(tree: Path, check: Callable[[Notebook], Iterator[str]]) -> Problems:
    return [f"{each.name}: {problem}" for each in notebooks(tree) for problem in check(each)]


def _is_foreign(folder: str) -> bool:
    hidden = folder.startswith(".") and folder not in _HIDDEN_BUT_OURS
    return hidden or folder.endswith(".egg-info")


def text_files(tree: Path, *suffixes: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of the checkout's files with these suffixes (all, if none)."""
    for path in sorted(tree.rglob("*")):
        parts = path.relative_to(tree).parts
        if _SKIPPED & set(parts) or any(_is_foreign(part) for part in parts[:-1]):
            continue
        if path.is_file() and (not suffixes or path.suffix in suffixes):
            try:
                yield path.relative_to(tree).as_posix(), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


# --- chapters and modules ----------------------------------------------------------------------


def chapters_are_listed(tree: Path) -> Problems:
    """The table of contents and the notebooks name the same chapters, in the parts' order."""
    listed, present = toc(tree), [each.name for each in notebooks(tree)]
    problems = [f"{name}: is in _toc.yml and has no notebook" for name in listed
                if name not in present]  # fmt: skip
    problems += [f"{name}: is not in _toc.yml" for name in present if name not in listed]
    rows = tomllib.loads((tree / "book" / "parts.toml").read_text(encoding="utf-8"))["part"]
    order = [f"{row['name']}/{stem}" for row in rows for stem in row["chapters"]]
    problems += [f"{name}: is not in parts.toml" for name in listed if name not in order]
    known = [name for name in listed if name in order]
    if known != sorted(known, key=order.index):
        problems.append("_toc.yml must list chapters in the order of parts.toml")
    return problems


def metadata_is_complete(tree: Path) -> Problems:
    """Every chapter says its Chinese title, level, times, modules, objectives."""

    def check(notebook: Notebook) -> Iterator[str]:
        data = notebook.metadata
        for key, kind in _METADATA.items():
            if not isinstance(data.get(key), kind):
                yield f"{key} must be {kind.__name__}, got {data.get(key)!r}"
        for key in sorted(set(data) - set(_METADATA)):
            yield f"metadata must be of the schema, got {key!r}"
        if data.get("level") not in {"core", "deep"}:
            yield f"level must be 'core' or 'deep', got {data.get('level')!r}"
        if not re.search(r"[\u4e00-\u9fff]", str(data.get("title_zh", ""))):
            yield f"title_zh must be Chinese, got {data.get('title_zh')!r}"
        for key in ("minutes_read", "minutes_exercises"):
            if isinstance(data.get(key), int) and not 1 <= data[key] <= 90:
                yield f"{key} must be between 1 and 90, got {data.get(key)!r}"
        low, high = N_OBJECTIVES
        if not low <= len(data.get("objectives") or []) <= high:
            yield f"objectives must be {low} to {high}, got {len(data.get('objectives') or [])}"

    return _each(tree, check)


def requirements_come_earlier(tree: Path) -> Problems:
    """What a chapter requires stands before it, so that nothing goes in a circle."""
    order = toc(tree)
    problems = []
    for notebook in notebooks(tree):
        for name in notebook.metadata.get("requires", []):
            if name not in order:
                problems.append(f"{notebook.name}: requires {name!r}, which is no chapter")
            elif notebook.name in order and order.index(name) >= order.index(notebook.name):
                problems.append(
                    f"{notebook.name}: requires {name!r}, which does not come before it"
                )
    return problems


def chapters_name_their_modules(tree: Path) -> Problems:
    """Every chapter names modules that exist, and the first has the chapter's part and stem."""

    def check(notebook: Notebook) -> Iterator[str]:
        modules = notebook.metadata.get("modules", [])
        if not modules:
            yield "modules must name at least one module, got none"
        for module in modules:
            if not (tree / f"{module.replace('.', '/')}.py").is_file():
                yield f"modules must exist, got {module!r}"
        own = f"reclib.{notebook.name.replace('/', '.')}"
        if modules and modules[0] != own and notebook.name not in WITHOUT_OWN_MODULE:
            yield f"the first module must be {own!r}, got {modules[0]!r}"

    return _each(tree, check)


def _within(module: str, packages: dict[str, str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def _public_modules(tree: Path) -> Iterator[str]:
    for path in sorted((tree / "reclib").rglob("*.py")):
        module = ".".join(path.relative_to(tree).with_suffix("").parts)
        if not any(part.startswith("_") for part in module.split(".")):
            yield module


def modules_have_chapter_and_test(tree: Path) -> Problems:
    """Every public module is named by a chapter and has a test of its stem."""
    named = {module for each in notebooks(tree) for module in each.metadata.get("modules", [])}
    problems = []
    for module in _public_modules(tree):
        if _within(module, FREE_MODULES):
            continue
        *folders, stem = module.split(".")[1:]
        test = tree.joinpath("tests", *folders, f"test_{stem}.py")
        if not test.is_file():
            problems.append(f"{module}: has no {test.relative_to(tree).as_posix()}")
        if module not in named and not _within(module, WAITING_MODULES):
            problems.append(f"{module}: no chapter names it")
    return problems


def exemptions_are_needed(tree: Path) -> Problems:
    """An exemption that exempts nothing any more must go."""
    present = list(_public_modules(tree))
    named = {module for each in notebooks(tree) for module in each.metadata.get("modules", [])}
    problems = []
    for name in WAITING_MODULES:
        waiting = [module for module in present if _within(module, {name: ""})]
        if waiting and all(module in named for module in waiting):
            problems.append(f"{name}: every module has its chapter; take it out of WAITING_MODULES")
    return problems


# --- notebooks ---------------------------------------------------------------------------------


def notebooks_are_clean(tree: Path) -> Problems:
    """No outputs, no counts, readable and unique cell ids, Python 3 as the kernel."""

    def check(notebook: Notebook) -> Iterator[str]:
        raw = notebook.raw
        if (raw.get("nbformat"), raw.get("nbformat_minor", 0) >= 5) != (4, True):
            yield "format must be 4.5 or later, since cells need ids"
        if raw["metadata"].get("kernelspec", {}).get("name") != "python3":
            yield "kernelspec must be python3"
        for key in sorted({"widgets", "papermill"} & set(raw["metadata"])):
            yield f"metadata must not hold {key!r}"
        seen: set[str] = set()
        for number, cell in enumerate(notebook.cells, start=1):
            name = cell.get("id", "")
            if cell.get("outputs") or cell.get("execution_count") is not None:
                yield f"cell {number} must have no output and no count"
            if not re.fullmatch(r"[a-z][a-z0-9-]{1,63}", name) or re.fullmatch(
                r"(?=.*\d)[0-9a-f-]{8,}", name
            ):
                yield f"cell {number} must have a readable id, got {name!r}"
            if name in seen:
                yield f"cell {number} repeats the id {name!r}"
            seen.add(name)

    return _each(tree, check)


def notebooks_stay_inside(tree: Path) -> Problems:
    """No absolute path, no install, no shell, no warning filter."""

    def check(notebook: Notebook) -> Iterator[str]:
        for number, cell in enumerate(notebook.cells, start=1):
            text = source(cell)
            if found := _ABSOLUTE.search(text):
                yield f"cell {number} must not hold an absolute path, got {found[0]!r}"
            if cell["cell_type"] != "code":
                continue
            if found := _INSTALL.search(text):
                yield f"cell {number} must not install or call a shell, got {found[0]!r}"
            if found := _FILTER.search(text):
                yield f"cell {number} must not filter warnings, got {found[0]!r}"

    return _each(tree, check)


def parameters_come_first(tree: Path) -> Problems:
    """The first code cell, and only it, has the tag and sets ``profile`` and ``seed``."""

    def check(notebook: Notebook) -> Iterator[str]:
        tagged = [
            n for n, cell in enumerate(notebook.of_type("code")) if "parameters" in tags(cell)
        ]
        if tagged != [0]:
            yield "the first code cell, and no other, must have the tag 'parameters'"
            return
        body = ast.parse(source(notebook.of_type("code")[0])).body
        values = {
            statement.targets[0].id: statement.value.value
            for statement in body
            if isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and isinstance(statement.value, ast.Constant)
        }
        if len(values) != len(body) or list(values) != ["profile", "seed"]:
            yield "parameters must be the literals profile and seed and nothing else"
        elif values["profile"] != "small" or type(values["seed"]) is not int:
            yield f"parameters must be 'small' and an integer, got {values}"

    return _each(tree, check)


def notebooks_are_short(tree: Path) -> Problems:
    """Few cells, short code cells, at most 3,500 words."""

    def check(notebook: Notebook) -> Iterator[str]:
        if len(notebook.cells) > MAX_CELLS:
            yield f"cells must be at most {MAX_CELLS}, got {len(notebook.cells)}"
        for number, cell in enumerate(notebook.cells, start=1):
            lines = [line for line in source(cell).splitlines() if line.strip()]
            lines = [line for line in lines if not line.startswith("###")]
            if cell["cell_type"] == "code" and LONG_TAG not in tags(cell):
                if (n := len(lines)) > MAX_CODE_LINES:
                    yield f"cell {number} must have {MAX_CODE_LINES} lines or fewer, got {n}"
        words = len(re.findall(r"[\w'’-]+", re.sub(r"```.*?```", "", notebook.text, flags=re.S)))
        if words > MAX_WORDS:
            yield f"words must be at most {MAX_WORDS}, got {words}"

    return _each(tree, check)


def _headings(notebook: Notebook) -> list[str]:
    return re.findall(r"^#{1,2} (.+?)\s*$", notebook.text, re.MULTILINE)


def _section(notebook: Notebook, title: str) -> str:
    match = re.search(rf"^## {title}\b.*?$(.*?)(?=^## |\Z)", notebook.text, re.M | re.S)
    return match[1] if match else ""


def sections_are_in_order(tree: Path) -> Problems:
    """A title, what to know before, exercises, a recap, what to read next, in this order."""

    def check(notebook: Notebook) -> Iterator[str]:
        first = notebook.cells[0] if notebook.cells else {"cell_type": "", "source": ""}
        if first["cell_type"] != "markdown" or not source(first).startswith("# "):
            yield "the first cell must be the title"
        if len(re.findall(r"^# ", notebook.text, re.MULTILINE)) != 1:
            yield "there must be exactly one title"
        if "Before you start" not in notebook.text:
            yield "there must be an admonition 'Before you start'"
        wanted = ["Exercises", "Recap", "Read next"]
        found = [title for title in _headings(notebook) if title in wanted]
        if found != wanted:
            yield f"sections must be {', '.join(wanted)} in this order, got {found}"

    return _each(tree, check)


def objectives_are_recalled(tree: Path) -> Problems:
    """The recap has one line per objective."""

    def check(notebook: Notebook) -> Iterator[str]:
        lines = re.findall(r"^(?:[-*]|\d+\.) \S", _section(notebook, "Recap"), re.MULTILINE)
        wanted = len(notebook.metadata.get("objectives", []))
        if len(lines) != wanted:
            yield f"the recap must have {wanted} lines, one per objective, got {len(lines)}"
        for objective in notebook.metadata.get("objectives", []):
            if objective.rstrip(".").lower() not in notebook.text.lower():
                yield f"'Before you start' must hold the objective {objective!r}"

    return _each(tree, check)


def by_hand_equals_library(tree: Path) -> Problems:
    """Some visible cell asserts that the hand-made number is the module's."""

    def check(notebook: Notebook) -> Iterator[str]:
        cells = [cell for cell in notebook.of_type("code") if "nbgrader" not in cell["metadata"]]
        if not any(_PEERS.search(source(cell)) for cell in cells):
            yield "a cell must assert that by hand equals library (assert_close, assert_allclose)"

    return _each(tree, check)


# --- exercises ---------------------------------------------------------------------------------


def _exercises(notebook: Notebook) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield label and following cells of each exercise."""
    starts = []
    for position, cell in enumerate(notebook.cells):
        text = source(cell)
        if cell["cell_type"] == "markdown" and re.search(r"\{exercise(-start)?\}", text):
            match = re.search(r"\{exercise(?:-start)?\}.*?^:label:\s*(\S+)", text, re.M | re.S)
            starts.append((match[1] if match else "", position))
    ends = [position for _, position in starts[1:]] + [len(notebook.cells)]
    for (label, start), end in zip(starts, ends, strict=True):
        yield label, notebook.cells[start:end]


def _graded(cell: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = cell["metadata"].get("nbgrader", {})
    return data


def _exercise_problems(label: str, cells: list[dict[str, Any]]) -> Iterator[str]:
    texts = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")
    if not label:
        yield "every exercise must have a label"
        return
    if not re.search(rf"\{{solution-start\}} {re.escape(label)}\s*$", texts, re.MULTILINE):
        yield f"exercise {label!r} must have a solution-start of its label"
    if texts.count("{solution-start}") != texts.count("{solution-end}"):
        yield f"exercise {label!r} must end its solution"
    solutions = [cell for cell in cells if _graded(cell).get("solution")]
    checks = [cell for cell in cells if _graded(cell).get("grade")]
    if not solutions:
        yield f"exercise {label!r} must have a solution cell with nbgrader metadata"
    if not checks:
        yield f"exercise {label!r} must have a check cell with nbgrader metadata"
    for problem in (*map(_solution_problem, solutions), *map(_check_problem, checks)):
        if problem:
            yield f"exercise {label!r} {problem}"


def _nbgrader_problem(cell: dict[str, Any]) -> str:
    data = _graded(cell)
    complete = data.get("schema_version") == 3 and data.get("grade_id")
    return "" if complete else "must have nbgrader cells with grade_id and schema_version 3"


def _solution_problem(cell: dict[str, Any]) -> str:
    text = source(cell)
    marked = "### BEGIN SOLUTION" in text and "### END SOLUTION" in text
    if cell["cell_type"] == "code" and not marked:
        return "must mark its solution with BEGIN and END SOLUTION"
    return _nbgrader_problem(cell)


def _check_problem(cell: dict[str, Any]) -> str:
    data = _graded(cell)
    if not data.get("points") or not data.get("locked"):
        return "must have a locked check worth points"
    return _nbgrader_problem(cell)


def exercises_grade_themselves(tree: Path) -> Problems:
    """Two or three exercises, each with label, solution and check; grade ids are unique."""

    def check(notebook: Notebook) -> Iterator[str]:
        found = list(_exercises(notebook))
        low, high = N_EXERCISES
        if not low <= len(found) <= high:
            yield f"exercises must be {low} to {high}, got {len(found)}"
        for label, cells in found:
            yield from _exercise_problems(label, cells)
        ids = [
            _graded(cell)["grade_id"] for cell in notebook.cells if _graded(cell).get("grade_id")
        ]
        for name in sorted({name for name in ids if ids.count(name) > 1}):
            yield f"grade_id {name!r} must be unique"

    return _each(tree, check)


# --- figures, links, words ---------------------------------------------------------------------


def _calls(code: str) -> Iterator[ast.Call]:
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node


def _call_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def figures_have_alt_text(tree: Path) -> Problems:
    """Figures go through ``plotting.show`` or ``slider`` with ``alt``; pictures have theirs too."""

    def check(notebook: Notebook) -> Iterator[str]:
        for call in _calls(notebook.code):
            if _call_name(call) in {"show", "slider"}:
                if "alt" not in [keyword.arg for keyword in call.keywords]:
                    yield f"{_call_name(call)} must be given alt, in line {call.lineno} of the code"
        if found := re.search(r"\bpyplot\b|\bplt\.", notebook.code):
            yield f"figures must come from reclib.plotting, which asks for alt, got {found[0]!r}"
        yield from _pictures_without_alt(notebook.text)

    problems = _each(tree, check)
    for name, text in text_files(tree / "book", ".md"):
        problems += [f"book/{name}: {problem}" for problem in _pictures_without_alt(text)]
    return problems


def _pictures_without_alt(text: str) -> Iterator[str]:
    for found in re.finditer(r"!\[\s*\]\(([^)]+)\)", text):
        yield f"picture {found[1]!r} must have alt text"
    for found in re.finditer(r"<img\b(?![^>]*\balt=\"[^\"]+\")[^>]*>", text):
        yield f"picture {found[0][:40]!r} must have alt text"
    for found in re.finditer(r"^(`{3,}|:{3,})\{(image|figure)\} (\S+)(.*?)^\1", text, re.M | re.S):
        if not re.search(r"^:alt:\s*\S", found[4], re.MULTILINE):
            yield f"picture {found[3]!r} must have alt text"


def core_chapters_have_a_slider(tree: Path) -> Problems:
    """Each core chapter has one figure that the reader moves."""

    def check(notebook: Notebook) -> Iterator[str]:
        names = [_call_name(call) for call in _calls(notebook.code)]
        if notebook.metadata.get("level") == "core" and "slider" not in names:
            yield "a core chapter must have a figure made by plotting.slider"

    return _each(tree, check)


def bib_keys(tree: Path) -> list[str]:
    """Return the keys of ``book/references.bib``, repeats included."""
    text = (tree / "book" / "references.bib").read_text(encoding="utf-8")
    return re.findall(r"^@\w+\{\s*([^,\s]+),", text, re.MULTILINE)


def citations_exist(tree: Path) -> Problems:
    """Every key that is cited is in the references, once; every chapter cites something."""
    keys = bib_keys(tree)
    problems = [f"references.bib: {key!r} must be there once" for key in sorted(set(keys))
                if keys.count(key) > 1]  # fmt: skip
    texts = [(each.name, each.text) for each in notebooks(tree)]
    for name, text in texts:
        if not _CITE.search(text):
            problems.append(f"{name}: must cite what to read next")
    for name, text in [*texts, *text_files(tree / "book", ".md")]:
        for group in _CITE.findall(text):
            for key in group.split(","):
                if key.strip() not in keys:
                    problems.append(
                        f"{name}: cites {key.strip()!r}, which is not in the references"
                    )
    return problems


def links_into_the_package_are_full(tree: Path) -> Problems:
    """A ``py:`` role names the module in full, so that the build checks it."""

    def check(notebook: Notebook) -> Iterator[str]:
        for target in _PY_ROLE.findall(notebook.text):
            if not target.startswith("reclib."):
                yield f"a py role must name reclib in full, got {target!r}"

    return _each(tree, check)


def words_are_plain(tree: Path) -> Problems:
    """No *simply*, no *obviously*, no emoji in a chapter."""

    def check(notebook: Notebook) -> Iterator[str]:
        for found in re.finditer(
            r"\b(?:simply|obviously|trivially)\b|[\U0001F300-\U0001FAFF]", notebook.text, re.I
        ):
            yield f"prose must be plain, got {found[0]!r}"

    return _each(tree, check)


# --- the whole repository ----------------------------------------------------------------------


def nobody_is_sent_elsewhere(tree: Path) -> Problems:
    """Nothing tells people to install the other project that is called reclib on PyPI."""
    return [
        f"{name}: the distribution is reclib-book, got {found[0]!r}"
        for name, text in text_files(tree)
        for found in _FOREIGN.finditer(text)
    ]


def modules_have_a_subject(tree: Path) -> Problems:
    """No module is called utils, helpers, base or common."""
    return [
        f"{name}: a module must be called after its subject"
        for name, _ in text_files(tree, ".py")
        if FORBIDDEN_STEMS & {part.removesuffix(".py").strip("_") for part in name.split("/")}
    ]


def truth_is_kept_apart(tree: Path) -> Problems:
    """Only shop, environments, notebooks, tests, benchmarks and storefront read the truth."""
    problems = []
    for name, text in text_files(tree, ".py"):
        if name.startswith(MAY_TOUCH_TRUTH):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.stmt | ast.expr) and _reads_truth(node):
                problems.append(f"{name}: line {node.lineno} must not read the shop's truth")
    return problems


def _reads_truth(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "truth"
    if isinstance(node, ast.ImportFrom):
        names = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    elif isinstance(node, ast.Import):
        names = {alias.name for alias in node.names}
    else:
        return False
    return "reclib.shop.truth" in names


def layers_are_the_parts(tree: Path) -> Problems:
    """The import-linter contract lists the parts of the book in reading order."""
    config = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    listed = [re.findall(r"\w+", layer) for layer in reversed(layers)]
    flat = [name for layer in listed for name in sorted(layer) if name != "plotting"]
    rows = tomllib.loads((tree / "book" / "parts.toml").read_text(encoding="utf-8"))["part"]
    parts = [row["name"] for row in rows]
    without = [name for name in flat if name != "datasets"]
    return [] if without == parts else [f"layers must be the parts {parts}, got {without}"]


RULES: tuple[Rule, ...] = (
    chapters_are_listed,
    metadata_is_complete,
    requirements_come_earlier,
    chapters_name_their_modules,
    modules_have_chapter_and_test,
    exemptions_are_needed,
    notebooks_are_clean,
    notebooks_stay_inside,
    parameters_come_first,
    notebooks_are_short,
    sections_are_in_order,
    objectives_are_recalled,
    by_hand_equals_library,
    exercises_grade_themselves,
    figures_have_alt_text,
    core_chapters_have_a_slider,
    citations_exist,
    links_into_the_package_are_full,
    words_are_plain,
    nobody_is_sent_elsewhere,
    modules_have_a_subject,
    truth_is_kept_apart,
    layers_are_the_parts,
)


def main() -> int:
    """Print every problem of this checkout; 1 if there is one."""
    tree = Path(__file__).resolve().parent.parent
    problems = [f"{rule.__name__}: {problem}" for rule in RULES for problem in rule(tree)]
    print("\n".join(problems) or f"{len(RULES)} house rules hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""run.py and what it is made of: closures, digests, exercises, grading, records of results."""

import copy
import importlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import run
from benchmarks import __main__ as results
from book.closure import closure, code_digest, digest, notebook_roots, source_roots
from book.execute import complaints
from book.exercises import grade, points, read, refill, set_parameters, strip, write
from book.exercises import main as grade_files

ROOT = Path(__file__).resolve().parents[1]


def cell(kind: str, source: str, **metadata: Any) -> dict[str, Any]:
    made = {"cell_type": kind, "id": f"{abs(hash(source)):x}"[:8], "metadata": metadata}
    made["source"] = source.splitlines(keepends=True)
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def exercise(name: str, *, points: int | None = None, source: str = "") -> dict[str, Any]:
    """A solution cell, or with points the check that goes with it."""
    kind = {"grade_id": name, "schema_version": 3, "task": False}
    kind |= {"grade": points is not None, "solution": points is None, "locked": points is not None}
    return cell("code", source, nbgrader=kind | ({"points": points} if points else {}))


def notebook(*cells: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata["kernelspec"] = kernel
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


PARAMETERS = cell("code", 'profile = "small"\nseed = 0', tags=["parameters"])


def chapter() -> dict[str, Any]:
    doubled = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    hidden = "assert double(3) == 6\n### BEGIN HIDDEN TESTS\nassert double(4) == 8\n"
    return notebook(
        cell("markdown", "# Doubling"),
        copy.deepcopy(PARAMETERS),
        cell("markdown", "```{exercise}\n:label: twice\nDouble.\n```"),
        cell("markdown", "```{solution-start} twice\n```"),
        cell("markdown", "Multiply by two."),
        exercise("double", source=doubled),
        cell("code", "double(7)"),
        cell("markdown", "```{solution-end}\n```"),
        exercise("double-check", points=2, source=hidden + "### END HIDDEN TESTS"),
        exercise("three", source="three = 3"),
        exercise("three-check", points=1, source="assert three == 3"),
    )


def tree(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / (name.replace("__init__", "<>").replace("__", "/").replace("<>", "__init__"))
        path = path.with_name(path.name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def names(root: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


# Closures and digests


def test_a_closure_follows_every_kind_of_import_and_nothing_else(tmp_path: Path) -> None:
    tree(
        tmp_path,
        p____init__="",
        p__a="from . import b\nimport numpy",
        p__b="def late():\n    from p.c.deep import x\n",
        p__c____init__="from .near import y\nz = y",
        p__c__near="y = 1",
        p__c__deep="LOADERS = {'d': 'p.d'}\nx = 1",
        p__d="import p.a",
        p__unused="",
    )
    assert names(tmp_path, closure(tmp_path, ["p.a"])) == [
        "p/__init__.py",
        "p/a.py",
        "p/b.py",
        "p/c/__init__.py",
        "p/c/deep.py",
        "p/c/near.py",
        "p/d.py",
    ]


def test_a_package_that_only_hands_on_names_counts_as_the_modules_they_come_from(
    tmp_path: Path,
) -> None:
    tree(tmp_path, p____init__="VERSION = 1", p__a="from p.c import x", p__b="import p.c")
    tree(tmp_path, p__c____init__="'Doc.'\nfrom p.c.one import x\nfrom p.c.two import y\n")
    tree(tmp_path, p__c__one="from p.c.deep import z", p__c__two="", p__c__deep="z = 1", p__d="")
    one = ["p/__init__.py", "p/a.py", "p/c/deep.py", "p/c/one.py"]
    assert names(tmp_path, closure(tmp_path, ["p.a"])) == one
    assert names(tmp_path, closure(tmp_path, ["p.c.x"])) == [one[0], *one[2:]]
    whole = ["p/c/__init__.py", "p/c/deep.py", "p/c/one.py", "p/c/two.py"]
    assert names(tmp_path, closure(tmp_path, ["p.b"])) == ["p/__init__.py", "p/b.py", *whole]
    tree(tmp_path, p__c____init__="from p.c.one import x\nfrom p.c.two import y\nimport p.d")
    found = names(tmp_path, closure(tmp_path, ["p.a"]))
    assert found == ["p/__init__.py", "p/a.py", *whole, "p/d.py"]


def test_a_closure_leaves_a_package_out_with_what_only_it_imports(tmp_path: Path) -> None:
    tree(tmp_path, p____init__="", p__a="import p.c.x, p.b", p__b="", p__cc="")
    tree(tmp_path, p__c____init__="", p__c__x="import p.only, p.b", p__only="")
    found = names(tmp_path, closure(tmp_path, ["p.a", "p.cc"], without=["p.c"]))
    assert found == ["p/__init__.py", "p/a.py", "p/b.py", "p/cc.py"]


def test_relative_imports_are_resolved_against_the_module_or_its_package() -> None:
    assert "p.q.x" in source_roots("from .x import y", "p.q.m")
    assert "p.x" in source_roots("from ..x import y", "p.q.m")
    assert "p.q.x" in source_roots("from .x import y", "p.q", package=True)


def test_a_notebook_names_its_modules_in_metadata_and_code_but_not_in_magics() -> None:
    made = notebook(
        cell("code", "%matplotlib inline\n!ls\nfrom reclib.shop import simulate"),
        cell("markdown", "import reclib.nothing"),
        reclib={"modules": ["reclib.foundations.metrics"]},
    )
    found = notebook_roots(made)
    assert found == {"reclib.shop.simulate", "reclib.foundations.metrics"}
    assert "reclib.nothing" not in found


def test_a_digest_sees_bytes_places_and_values_but_not_order(tmp_path: Path) -> None:
    tree(tmp_path, a="1", b="2")
    both = [tmp_path / "a.py", tmp_path / "b.py"]
    before = digest(tmp_path, both, "tiny")
    assert digest(tmp_path, both[::-1], "tiny") == before
    assert digest(tmp_path, both, "small") != before
    tree(tmp_path, a="2", b="1")
    assert digest(tmp_path, both, "tiny") != before


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ("x = 1\ny = 'a # b'\n", False),
        ("# new\nx = 1  # why\n\n\ny = '# b'\n", True),
        ('"""New docstring\n\nof two lines."""\nx = 1\ny = "# b"\n', False),
        ('"""New docstring\n\nof two lines."""\nx = 1\ny = \'# b\'\n', True),
    ],
)
def test_a_code_digest_ignores_comments_and_docstrings_only(
    tmp_path: Path, changed: str, same: bool
) -> None:
    tree(tmp_path, m="'''Docstring.'''\nx = 1\ny = '# b'\n")
    before = code_digest(tmp_path, [tmp_path / "m.py"])
    tree(tmp_path, m=changed)
    assert (code_digest(tmp_path, [tmp_path / "m.py"]) == before) is same


# Exercises


def test_a_student_gets_stubs_checks_and_nothing_of_the_solution() -> None:
    student = strip(chapter())
    sources = ["".join(made["source"]) for made in student["cells"]]
    stub = "# YOUR CODE HERE\nraise NotImplementedError()"
    assert sources[3:] == [
        "def double(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()",
        "assert double(3) == 6",
        stub,
        "assert three == 3",
    ]
    assert "Multiply by two." not in sources and "double(7)" not in sources
    locked = student["cells"][4]["metadata"]
    assert locked["editable"] is False and locked["deletable"] is False


def test_stripping_leaves_the_source_alone_and_removes_outputs() -> None:
    source = chapter()
    source["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    before = copy.deepcopy(source)
    assert all(not made.get("outputs") for made in strip(source)["cells"])
    assert source == before


@pytest.mark.oracle
def test_exercise_cells_are_stripped_as_nbgrader_does() -> None:
    nbformat = pytest.importorskip("nbformat")
    preprocessors = pytest.importorskip("nbgrader.preprocessors")
    node = nbformat.reads(json.dumps(chapter()), as_version=4)
    resources: dict[str, Any] = {}
    for step in (preprocessors.ClearSolutions(), preprocessors.ClearHiddenTests()):
        node, resources = step.preprocess(node, resources)
    theirs = [made.source for made in node.cells if "nbgrader" in made.metadata]
    ours = [made for made in strip(chapter())["cells"] if "nbgrader" in made["metadata"]]
    assert ["".join(made["source"]) for made in ours] == theirs


def test_a_solution_outside_a_solution_cell_is_refused() -> None:
    stray = cell("code", "### BEGIN SOLUTION\n1\n### END SOLUTION")
    with pytest.raises(ValueError, match="a solution must be in a solution cell, got # YOUR CODE"):
        strip(notebook(stray))


def test_a_solution_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="BEGIN SOLUTION must have its END SOLUTION, got none"):
        strip(notebook(exercise("a", source="### BEGIN SOLUTION\n1")))


def test_parameters_are_set_in_their_tagged_cell_only() -> None:
    made = notebook(cell("code", "seed = 5"), copy.deepcopy(PARAMETERS))
    changed = set_parameters(made, seed=7, profile="tiny")
    assert "".join(changed["cells"][1]["source"]) == 'profile = "tiny"\nseed = 7'
    assert changed["cells"][0]["source"] == ["seed = 5"]
    with pytest.raises(KeyError, match="parameters must assign speed"):
        set_parameters(made, speed=1)


def test_checks_of_the_source_replace_those_a_student_has_changed() -> None:
    student = strip(chapter())
    student["cells"][4]["source"] = ["pass"]
    filled = refill(student, chapter())
    assert "assert double(4) == 8" in "".join(filled["cells"][4]["source"])
    assert "YOUR CODE HERE" in "".join(filled["cells"][3]["source"])
    solved = refill(student, chapter(), solutions=True)
    assert "return 2 * x" in "".join(solved["cells"][3]["source"])
    assert "assert double(4) == 8" in "".join(solved["cells"][4]["source"])


def test_points_are_lost_by_an_error_or_a_missing_check() -> None:
    executed = copy.deepcopy(chapter())
    error = {"output_type": "error", "ename": "ValueError", "evalue": "a\nb", "traceback": []}
    executed["cells"][8]["outputs"] = [error]
    del executed["cells"][10]
    rows = points(executed, chapter())
    assert [(row["points"], row["possible"], row["why"]) for row in rows] == [
        (0.0, 2.0, "ValueError: b"),
        (0.0, 1.0, "the check was removed"),
    ]


def test_a_cell_that_hangs_or_kills_the_kernel_costs_only_its_own_points() -> None:
    hang = "while True:\n    try:\n        while True:\n            pass\n"
    hang += "    except KeyboardInterrupt:\n        pass"
    source = notebook(
        exercise("hang", source="a = 1"),
        exercise("hang-check", points=1, source="assert a == 1"),
        exercise("kill", source="def b():\n    return 2"),
        exercise("kill-check", points=2, source="assert b() == 2"),
        exercise("right", source="c = 3"),
        exercise("right-check", points=4, source="assert c == 3"),
    )
    student = copy.deepcopy(source)
    student["cells"][0]["source"] = hang
    student["cells"][2]["source"] = "def b():\n    import os\n    os._exit(1)"
    rows = grade(student, source, timeout=2)
    assert [row["points"] for row in rows] == [0, 0, 4]
    assert rows[1]["why"] == "killed the kernel"


def test_a_file_that_is_no_notebook_gets_no_points_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(chapter(), tmp_path / "sources" / "part" / "stem.ipynb")
    (tmp_path / "student" / "part").mkdir(parents=True)
    (tmp_path / "student" / "part" / "stem.ipynb").write_text("{}", encoding="utf-8")
    folders = [str(tmp_path / "student"), str(tmp_path / "sources"), "part/stem"]
    assert grade_files([*folders, "--expect", "none"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("part/stem: 0 of 3 points\n  double-check: 0 of 2  (stem.ipynb")
    assert grade_files([*folders, "--expect", "full"]) == 1
    assert "expected full points for part/stem double-check" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": [1]}', '{"cells": [{"source": ""}]}'])
def test_reading_refuses_what_is_no_notebook(tmp_path: Path, text: str) -> None:
    (tmp_path / "n.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"n\.ipynb must be a notebook of format 4, got "):
        read(tmp_path / "n.ipynb")


# The commands


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout with one chapter, in which run.py believes to be."""
    root = tmp_path / "checkout"
    tree(root, reclib____init__="", reclib__used="import reclib.deeper", reclib__deeper="x = 1")
    tree(root, reclib__unused="", reclib__shop____init__="", book__execute="")
    made = chapter()
    made["metadata"]["reclib"] = {"modules": ["reclib.used"]}
    write(made, root / "notebooks" / "part" / "stem.ipynb")
    for name in ("constraints.txt", "pyproject.toml"):
        (root / name).write_text("", encoding="utf-8")
    (root / "book" / "_toc.yml").write_text("- file: notebooks/part/stem\n", encoding="utf-8")
    monkeypatch.setattr(run, "ROOT", root)
    for name, place in (("BUILD", "_build"), ("VENV", ".venv"), ("STUDENT", "student")):
        monkeypatch.setattr(run, name, root / place)
    monkeypatch.setattr(run, "PYTHON", root / ".venv" / "python")
    monkeypatch.setattr(run, "STAMP", root / ".venv" / ".reclib-installed.json")
    monkeypatch.setattr(run, "UNFINISHED", root / "_build" / "venv-unfinished")
    return root


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("notebooks/part/stem.ipynb", True),
        ("reclib/used.py", True),
        ("reclib/deeper.py", True),
        ("reclib/__init__.py", True),
        ("reclib/shop/__init__.py", True),
        ("constraints.txt", True),
        ("data/results/row.json", True),
        ("reclib/unused.py", False),
        ("pyproject.toml", False),
    ],
)
def test_a_chapter_runs_again_when_what_it_reads_changed(
    checkout: Path, changed: str, again: bool
) -> None:
    before = run.chapter_key("part/stem", "tiny")
    path = checkout / changed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "\n", encoding="utf-8")
    assert (run.chapter_key("part/stem", "tiny") != before) is again
    assert run.chapter_key("part/stem", "small") != before


def test_the_storefront_is_made_again_only_when_what_it_reads_changed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(command: list[Any], **_: Any) -> int:
        folder = Path(command[4])
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("shelves.html", "index.html"):
            (folder / name).write_text(name, encoding="utf-8")
        made.append(command[-1])
        return 0

    monkeypatch.setattr(run, "call", make)
    tree(checkout, book__storefront="import reclib.used")
    for changed, count in (
        (None, 1),
        (None, 1),
        ("reclib/unused.py", 1),
        ("reclib/deeper.py", 2),
        ("reclib/shop/__init__.py", 3),
        ("book/storefront.css", 4),
    ):
        if changed:
            (checkout / changed).write_text("x = 2", encoding="utf-8")
        folder = run.storefront("tiny")
        assert len(made) == count, changed
    (folder / "shelves.html").unlink()
    run.storefront("tiny")
    run.storefront("small")
    assert made[count:] == ["tiny", "small"]


def test_a_storefront_that_failed_is_tried_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "call", lambda *_, **__: 1)
    for _ in range(2):
        with pytest.raises(run.Problem, match=r"book/storefront\.py failed"):
            run.storefront("tiny")


def test_an_executed_copy_is_kept_only_with_its_key_and_its_notebook(checkout: Path) -> None:
    path = run.executed_path("part/stem", "tiny")
    write(chapter(), path)
    assert run.kept("part/stem", "tiny", "k") is None
    path.with_suffix(".json").write_text('{"key": "k"}', encoding="utf-8")
    assert run.kept("part/stem", "tiny", "k") == {"key": "k"}
    assert run.kept("part/stem", "tiny", "other") is None
    path.unlink()
    assert run.kept("part/stem", "tiny", "k") is None


def test_chapters_are_named_by_part_and_stem_or_by_their_path(checkout: Path) -> None:
    assert run.chosen(["notebooks/part/stem.ipynb", "part\\stem"]) == ["part/stem", "part/stem"]
    assert run.chosen([]) == ["part/stem"]
    with pytest.raises(run.Problem, match="chapter must be one of part/stem, got part/other"):
        run.chosen(["part/other"])


def test_a_chapter_that_is_not_written_yet_is_left_out_aloud(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = "- file: notebooks/part/gone\n- file: notebooks/part/stem\n"
    (checkout / "book/_toc.yml").write_text(contents, encoding="utf-8")
    assert run.toc() == ["part/stem"]
    assert capsys.readouterr().out.endswith("no notebook yet: part/gone\n")


def installs(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> list[str]:
    """Replace venv and pip; return the list in which calls appear."""
    seen: list[str] = []

    def create(command: list[Any], **_: Any) -> int:
        seen.append("venv")
        run.VENV.mkdir(parents=True, exist_ok=True)
        run.PYTHON.touch()
        return 0

    def install(extras: list[str]) -> bool:
        seen.append("pip " + ",".join(extras))
        if isinstance(outcome, BaseException):
            raise outcome
        return bool(outcome)

    monkeypatch.setattr(run, "call", create)
    monkeypatch.setattr(run, "install", install)
    return seen


def test_the_environment_is_made_once_and_again_after_a_change(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = installs(monkeypatch, False)
    run.setup(["book"])
    run.setup(["book"])
    assert seen == ["venv", "pip book"]
    (checkout / "constraints.txt").write_text("numpy==2.0.0\n", encoding="utf-8")
    run.setup(["book"])
    run.setup(["book", "test"])
    assert seen[2:] == ["pip book", "pip book,test"]


def test_of_two_setups_at_once_the_second_waits_and_finds_all_done(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = installs(monkeypatch, False)
    started, may_end = threading.Event(), threading.Event()
    install = run.install

    def slowly(extras: list[str]) -> bool:
        started.set()
        may_end.wait(30)
        return install(extras)

    monkeypatch.setattr(run, "install", slowly)
    setups = [threading.Thread(target=run.setup, args=[["book"]]) for _ in range(2)]
    setups[0].start()
    assert started.wait(30)
    setups[1].start()
    setups[1].join(0.3)
    assert setups[1].is_alive()
    may_end.set()
    for each in setups:
        each.join(30)
    assert seen == ["venv", "pip book"]


def test_an_environment_whose_python_is_gone_is_made_anew(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs(monkeypatch, False)
    run.setup(["book"])
    run.PYTHON.unlink()
    seen = installs(monkeypatch, False)
    run.setup(["book"])
    assert seen == ["venv", "pip book"]


def test_an_install_that_was_cut_off_starts_from_an_empty_environment(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run.setup(["book"])
    seen = installs(monkeypatch, False)
    run.setup(["book"])
    assert seen == ["venv", "pip book"]


def test_an_install_that_failed_is_tried_again_in_place(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installs(monkeypatch, True)
    with pytest.raises(run.Problem, match="pip could not install the packages"):
        run.setup(["book"])
    seen = installs(monkeypatch, False)
    run.setup(["book"])
    assert seen == ["pip book"]


def test_children_get_absolute_folders_and_the_mirror_beside_the_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECLIB_MIRROR", raising=False)
    monkeypatch.setenv("RECLIB_DATA", "somewhere")
    assert "RECLIB_MIRROR" not in run.environment()
    (checkout.parent / "shared" / "datasets").mkdir(parents=True)
    assert run.environment()["RECLIB_MIRROR"] == str(checkout.parent / "shared" / "datasets")
    assert Path(run.environment()["RECLIB_DATA"]).is_absolute()
    monkeypatch.setenv("RECLIB_MIRROR", str(checkout))
    assert run.environment()["RECLIB_MIRROR"] == str(checkout)


def test_students_notebooks_carry_the_class_seed_and_are_not_overwritten(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["student", "--seed", "11"]) == 0
    mine = checkout / "student" / "part" / "stem.ipynb"
    assert "seed = 11" in "".join(read(mine)["cells"][1]["source"])
    assert run.main(["student", "--seed", "12"]) == 0
    assert "kept student" in capsys.readouterr().out
    assert "seed = 11" in "".join(read(mine)["cells"][1]["source"])
    assert run.main(["student", "--seed", "12", "--force"]) == 0
    assert "seed = 12" in "".join(read(mine)["cells"][1]["source"])


def test_problems_are_one_line_and_the_exit_status_one(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["serve"]) == 1
    said = capsys.readouterr().err
    assert said == "run.py: there is no book yet; `python run.py book` builds it\n"


def test_unknown_arguments_are_refused_except_where_they_are_passed_on() -> None:
    assert run.parse(["test", "-k", "ndcg", "-x"])[1] == ["-k", "ndcg", "-x"]
    with pytest.raises(SystemExit):
        run.parse(["book", "--fast"])


def test_a_committed_notebook_has_ids_and_neither_outputs_nor_counts() -> None:
    assert run.notebook_problems(chapter()) == []
    bad = chapter()
    bad["cells"][1]["execution_count"] = 3
    bad["cells"][2]["id"] = ""
    bad["cells"][3]["metadata"]["papermill"] = {}
    bad["metadata"] = {"widgets": {}}
    assert run.notebook_problems(bad) == [
        "cell 2 must be committed without outputs",
        "cell 3 must have an id",
        "cell 4 must be committed without an execution's metadata",
        "metadata must be committed without widgets and papermill's record",
        "the kernel must be python3",
    ]
    bad["cells"][5]["id"] = bad["cells"][4]["id"]
    assert "cell ids must be unique" in run.notebook_problems(bad)


def test_stderr_and_widget_state_of_an_executed_notebook_are_complaints() -> None:
    executed = chapter()
    assert complaints(executed) == []
    executed["cells"][1]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "fine"},
        {"output_type": "stream", "name": "stderr", "text": ["a ", "warning\n"]},
    ]
    executed["metadata"]["widgets"] = {"state": {}}
    assert complaints(executed) == [
        "cell 2 wrote to stderr: a warning",
        "the notebook holds widget state, which a page cannot show",
    ]


def test_a_progress_bar_of_a_chapter_writes_nothing_to_stderr(tmp_path: Path) -> None:
    bar = "from tqdm import tqdm\nsum(tqdm(range(3)))"
    write(notebook(copy.deepcopy(PARAMETERS), cell("code", bar)), tmp_path / "bar.ipynb")
    names = ("bar.ipynb", "executed.ipynb", "figures.json")
    env = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    command = [sys.executable, "-m", "book.execute", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert read(tmp_path / "executed.ipynb")["cells"][-1]["outputs"][0]["data"]["text/plain"] == [
        "3"
    ]


def test_a_glued_numpy_number_is_a_complaint_since_its_format_shows_nothing() -> None:
    executed = chapter()
    record = {"scrapbook": {"name": "a", "mime_prefix": "application/papermill.record/"}}
    executed["cells"][1]["outputs"] = [
        {
            "output_type": "display_data",
            "metadata": record,
            "data": {"application/papermill.record/text/plain": said},
        }
        for said in ("0.5", "np.float64(0.5)")
    ]
    assert complaints(executed) == ["cell 2 must glue a as float or int, got np.float64(0.5)"]


def test_a_page_says_version_time_memory_and_device() -> None:
    execution = {"date": "2026-01-02", "profile": "tiny", "seconds": 12.34, "peak_mib": 567}
    execution |= {"device": "2 cores", "versions": {"reclib-book": "0.1.0", "torch": "2.13.0"}}
    assert run.footer(execution)["source"] == [
        "*This page was executed on 2026-01-02 with the book's version 0.1.0 (torch 2.13.0): "
        "12 s, at most 567 MiB, profile `tiny`, 2 cores.*"
    ]


def test_the_summary_puts_the_slowest_chapter_first(capsys: pytest.CaptureFixture[str]) -> None:
    run.summary(
        [
            {"chapter": "a/quick", "seconds": 1.0, "peak_mib": 300},
            {"chapter": "a/slow", "seconds": 2.5, "peak_mib": 200},
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["a/slow", "a/quick"]
    assert lines[2].split()[:4] == ["3.5", "s", "300", "MiB"]


def test_an_old_python_is_told_what_is_needed() -> None:
    code = "import sys; sys.version_info = (3, 10, 0); exec(open('run.py').read())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("run.py needs Python 3.11 or newer, got ")


def test_run_needs_the_standard_library_only() -> None:
    code = "import sys, run; print('\\n'.join(sys.modules))"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) <= {"__main__", "book", "run"}


# Recorded results


def row(**changes: Any) -> dict[str, Any]:
    metrics = {"ndcg@10": {"mean": 0.1, "std": 0.0, "n_seeds": 1, "low": 0.09, "high": 0.11}}
    made: dict[str, Any] = {
        "dataset": "shop",
        "split": "last",
        "protocol": "full ranking",
        "model": "EASE",
        "options": {"regularization": 100.0},
        "metrics": metrics,
        "seconds": {"fit": 1.0},
        "memory_mib": {"fit": 10.0},
    }
    return made | changes


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"model": ""}, ["model must be a text, got ''"]),
        ({"seconds": 3.0}, ["seconds must be a table, got 3.0"]),
        ({"metrics": {}}, ["metrics must not be empty"]),
        ({"metrics": {"r": 0.1}}, ["metric r must have a finite mean, got 0.1"]),
        (
            {"metrics": {"r": {"mean": float("nan")}}},
            ["metric r must have a finite mean, got {'mean': nan}"],
        ),
    ],
)
def test_a_row_must_return_a_full_result(changes: dict[str, Any], found: list[str]) -> None:
    assert results.problems(row(**changes)) == found


def test_a_record_adds_what_the_row_cannot_vouch_for() -> None:
    made = results.record("toy", "benchmarks", row)
    assert results.problems(made, results.ADDED) == []
    assert made["command"] == "python run.py results toy"
    assert made["code"] == results.code_of("benchmarks", "shop")
    assert not {os.uname().nodename if hasattr(os, "uname") else "-"} & set(made["machine"].split())
    with pytest.raises(
        ValueError, match="row toy must return a full result, got: model is missing"
    ):
        results.record(
            "toy", "benchmarks", lambda: {k: v for k, v in row().items() if k != "model"}
        )


def test_a_record_is_stale_when_its_code_changed_but_not_when_a_docstring_did(
    tmp_path: Path,
) -> None:
    tree(tmp_path, benchmarks____init__="", benchmarks__toy="import reclib.m", reclib____init__="")
    tree(tmp_path, reclib__m='"""Docstring."""\nx = 1\n')

    def found() -> str:
        return results.state("toy", "benchmarks.toy", tmp_path, tmp_path)

    assert found() == "not recorded"
    made = results.record("toy", "benchmarks.toy", row)
    made["code"] = results.code_of("benchmarks.toy", "shop", tmp_path)
    (tmp_path / "toy.json").write_text(json.dumps(made), encoding="utf-8")
    assert found() == "current"
    tree(tmp_path, reclib__m='"""Another."""\nx = 1\n')
    assert found() == "current"
    tree(tmp_path, reclib__m='"""Another."""\nx = 2\n')
    assert found() == "stale"
    (tmp_path / "toy.json").write_text("{}", encoding="utf-8")
    assert found().startswith("malformed: dataset is missing")


@pytest.mark.parametrize(("dataset", "same"), [("shop", False), ("s3rec-beauty", True)])
def test_the_shop_s_code_counts_only_for_rows_about_the_shop(
    tmp_path: Path, dataset: str, same: bool
) -> None:
    tree(tmp_path, benchmarks__toy="import reclib.shop", reclib__shop="x = 1")
    before = results.code_of("benchmarks.toy", dataset, tmp_path)
    tree(tmp_path, reclib__shop="x = 2")
    assert (results.code_of("benchmarks.toy", dataset, tmp_path) == before) is same


def test_every_row_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, toys____init__="", toys__a="ROWS = {'x': dict}", toys___hidden="ROWS = {'x': 1}")
    monkeypatch.syspath_prepend(str(tmp_path))
    package = importlib.import_module("toys")
    assert results.discover(package) == {"x": ("toys.a", dict)}
    tree(tmp_path, toys__b="ROWS = {'x': dict}")
    with pytest.raises(ValueError, match=r"row x must be defined once, got toys\.a, toys\.b"):
        results.discover(package)


# The rules for every test


@pytest.mark.parametrize(
    ("ci", "summary"), [("", "2 skipped"), ("true", "1 failed, 1 skipped")], ids=["here", "CI"]
)
def test_a_skipped_oracle_fails_in_ci(tmp_path: Path, ci: str, summary: str) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  oracle\n  network\n  browser\n")
    (tmp_path / "test_peer.py").write_text(
        "import pytest\n"
        "@pytest.mark.oracle\n"
        "def test_peer():\n"
        "    pytest.importorskip('a_peer_that_is_not_there')\n"
        "def test_other():\n"
        "    pytest.skip('not here')\n"
    )
    env = {**os.environ, "CI": ci}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert summary in done.stdout.splitlines()[-1]


def test_tests_cannot_use_the_network() -> None:
    import socket

    with pytest.raises(ConnectionRefusedError, match="tests must not use the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)

"""The house rules hold for this book, and each of them fails on a bad example."""

import copy
import json
import shutil
from pathlib import Path

import pytest

from book import generate, rules

ROOT = Path(__file__).resolve().parent.parent

GRADER = {"schema_version": 3, "task": False}
OBJECTIVES = ["Count pairs", "Explain why counts mislead", "Measure recall"]
METADATA = {
    "title_zh": "近邻",
    "level": "core",
    "requires": [],
    "minutes_read": 25,
    "minutes_exercises": 20,
    "modules": ["reclib.collaborative.neighbors"],
    "objectives": OBJECTIVES,
}


def markdown(name, text):
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def code(name, text, *tags, **nbgrader):
    metadata = {"tags": list(tags)} if tags else {}
    if nbgrader:
        metadata["nbgrader"] = {**GRADER, "grade_id": name, **nbgrader}
    return {"cell_type": "code", "id": name, "metadata": metadata, "source": text,
            "outputs": [], "execution_count": None}  # fmt: skip


def exercise(label):
    return [
        markdown(f"{label}-task", f"```{{exercise}} Task\n:label: {label}\n\nDo it.\n```"),
        markdown(f"{label}-start", f"```{{solution-start}} {label}\n:class: dropdown\n```"),
        code(
            f"{label}-solution",
            "### BEGIN SOLUTION\nanswer = 2\n### END SOLUTION",
            grade=False,
            solution=True,
            locked=False,
        ),
        markdown(f"{label}-end", "```{solution-end}\n```"),
        code(f"{label}-check", "assert answer == 1 + 1", grade=True, solution=False, locked=True,
             points=1),
    ]  # fmt: skip


def good_chapter():
    goals = "\n".join(f"- {objective}." for objective in OBJECTIVES)
    cells = [
        markdown("title", "# Neighbours\n\nWho is like whom?"),
        markdown("start", f":::{{admonition}} Before you start\n{goals}\n:::"),
        code("parameters", 'profile = "small"\nseed = 0', "parameters"),
        code("imports", "import numpy as np\n\nfrom reclib import plotting"),
        code("equal", "np.testing.assert_allclose(1.0, 1.0)"),
        code("figure", 'plotting.slider([a, b], ["1", "2"], title="k", alt="recall grows with k")'),
        markdown("exercises", "## Exercises"),
        *exercise("first-task"),
        *exercise("second-task"),
        markdown("recap", "## Recap\n\n- Counted.\n- Explained.\n- Measured 0.4."),
        markdown("next", "## Read next\n\n{cite:t}`sarwar2001`; {py:mod}`reclib.plotting`."),
    ]
    return {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3"}, "reclib": copy.deepcopy(METADATA)},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


class Tree:
    """A small checkout in which every rule holds, and what breaks it."""

    def __init__(self, root):
        self.root = root
        (root / "book").mkdir()
        (root / "pyproject.toml").write_text(
            '[[tool.importlinter.contracts]]\ntype = "layers"\n'
            'layers = ["(plotting)", "collaborative", "(datasets) : (shop)", "foundations"]\n'
        )
        (root / "book" / "parts.toml").write_text(
            "".join(
                f'[[part]]\nname = "{name}"\ntitle = "{name}"\ntitle_zh = "部分"\nabout = "It"\n'
                f"chapters = {json.dumps(chapters)}\nweeks = {weeks}\n"
                for name, chapters, weeks in (
                    ("foundations", ["first"], [1]),
                    ("shop", [], [2]),
                    ("collaborative", ["neighbors", "linear"], [2, 3]),
                )
            ),
            encoding="utf-8",
        )
        self.toc("collaborative/neighbors")
        (root / "book" / "references.bib").write_text("@article{sarwar2001,\n year = {2001}\n}\n")
        self.module("collaborative", "neighbors")
        self.chapter("collaborative/neighbors", good_chapter())

    def toc(self, *names):
        lines = "\n".join(f"      - file: notebooks/{name}" for name in names)
        text = f"format: jb-book\nroot: book/intro\nparts:\n  - chapters:\n{lines}\n"
        (self.root / "book" / "_toc.yml").write_text(text)

    def module(self, part, stem, text='"""A module."""\n', test=True):
        for folder, name in (("reclib", f"{stem}.py"), ("tests", f"test_{stem}.py"))[: 1 + test]:
            path = self.root / folder / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def chapter(self, name, notebook):
        path = self.root / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook), encoding="utf-8")

    def change(self, edit):
        notebook = good_chapter()
        edit(notebook)
        self.chapter("collaborative/neighbors", notebook)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_this_book_keeps_the_rule(rule):
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_good_example_keeps_the_rule(rule, tree):
    assert rule(tree.root) == []


def cell(name):
    return lambda notebook: next(each for each in notebook["cells"] if each["id"] == name)


def put(name, text):
    return lambda notebook: cell(name)(notebook).update(source=text)


def meta(**values):
    return lambda notebook: notebook["metadata"]["reclib"].update(values)


def grader(name, **values):
    return lambda notebook: cell(name)(notebook)["metadata"]["nbgrader"].update(values)


def without(*names):
    def edit(notebook):
        notebook["cells"] = [each for each in notebook["cells"] if each["id"] not in names]

    return edit


def swap(first, second):
    def edit(notebook):
        one, two = cell(first)(notebook), cell(second)(notebook)
        one["source"], two["source"] = two["source"], one["source"]

    return edit


def extra(*cells):
    return lambda notebook: notebook["cells"].extend(cells)


def output(notebook):
    cell("imports")(notebook)["outputs"] = [{"output_type": "stream", "text": "x"}]


def count(notebook):
    cell("imports")(notebook)["execution_count"] = 1


def rename(name, new):
    return lambda notebook: cell(name)(notebook).update(id=new)


def kernel(notebook):
    notebook["metadata"]["kernelspec"]["name"] = "my-env"


def widgets(notebook):
    notebook["metadata"]["widgets"] = {}


def old_format(notebook):
    notebook["nbformat_minor"] = 4


BAD_CHAPTERS = [
    (rules.metadata_is_complete, meta(title_zh="Neighbours"), "title_zh must be Chinese, got 'Nei"),
    (rules.metadata_is_complete, meta(level="hard"), "level must be 'core' or 'deep', got 'hard'"),
    (rules.metadata_is_complete, meta(minutes_read="25"), "minutes_read must be int, got '25'"),
    (rules.metadata_is_complete, meta(minutes_read=0), "minutes_read must be between 1 and 90"),
    (rules.metadata_is_complete, meta(objectives=["a"]), "objectives must be 3 to 4, got 1"),
    (rules.metadata_is_complete, meta(colour="red"), "must be of the schema, got 'colour'"),
    (
        rules.requirements_come_earlier,
        meta(requires=["collaborative/neighbors"]),
        "requires 'collaborative/neighbors', which does not come before it",
    ),
    (
        rules.requirements_come_earlier,
        meta(requires=["collaborative/magic"]),
        "requires 'collaborative/magic', which is no chapter",
    ),
    (rules.chapters_name_their_modules, meta(modules=[]), "must name at least one module"),
    (
        rules.chapters_name_their_modules,
        meta(modules=["reclib.collaborative.magic"]),
        "the first module must be 'reclib.collaborative.neighbors', got 'reclib.collaborative.mag",
    ),
    (
        rules.chapters_name_their_modules,
        meta(modules=["reclib.collaborative.neighbors", "reclib.collaborative.magic"]),
        "modules must exist, got 'reclib.collaborative.magic'",
    ),
    (rules.modules_have_chapter_and_test, meta(modules=[]), "neighbors: no chapter names it"),
    (rules.notebooks_are_clean, output, "cell 4 must have no output"),
    (rules.notebooks_are_clean, count, "cell 4 must have no output and no count"),
    (rules.notebooks_are_clean, rename("imports", "9f1c2ab4"), "readable id, got '9f1c2ab4'"),
    (rules.notebooks_are_clean, rename("imports", ""), "readable id, got ''"),
    (rules.notebooks_are_clean, rename("imports", "title"), "repeats the id 'title'"),
    (rules.notebooks_are_clean, kernel, "kernelspec must be python3"),
    (rules.notebooks_are_clean, widgets, "metadata must not hold 'widgets'"),
    (rules.notebooks_are_clean, old_format, "format must be 4.5 or later"),
    (rules.notebooks_stay_inside, put("imports", 'open("/home/me/x")'), "absolute path, got"),
    (rules.notebooks_stay_inside, put("imports", 'open("C:\\\\data")'), "absolute path, got"),
    (rules.notebooks_stay_inside, put("imports", 'open("~/x")'), "absolute path, got"),
    (rules.notebooks_stay_inside, put("title", "# A\n\n[x](/data/x.csv)"), "absolute path, got"),
    (rules.notebooks_stay_inside, put("imports", "%pip install numpy"), "must not install"),
    (rules.notebooks_stay_inside, put("imports", "x = 1\n!ls"), "must not install"),
    (
        rules.notebooks_stay_inside,
        put("imports", 'import warnings\nwarnings.filterwarnings("ignore")'),
        "must not filter warnings",
    ),
    (rules.parameters_come_first, put("parameters", "profile = 'small'"), "profile and seed"),
    (
        rules.parameters_come_first,
        put("parameters", "profile = 'small'\nseed = 0\nk = 10"),
        "the literals profile and seed and nothing else",
    ),
    (
        rules.parameters_come_first,
        put("parameters", "profile = 'small'\nseed = int(0)"),
        "the literals profile and seed and nothing else",
    ),
    (
        rules.parameters_come_first,
        put("parameters", "profile = 'tiny'\nseed = 0"),
        "parameters must be 'small' and an integer",
    ),
    (rules.parameters_come_first, without("parameters"), "the first code cell, and no other"),
    (
        rules.notebooks_are_short,
        put("imports", "\n".join(f"x{n} = {n}" for n in range(13))),
        "cell 4 must have 12 lines or fewer, got 13",
    ),
    (rules.notebooks_are_short, put("title", "# T\n\n" + "word " * 3500), "words must be at most"),
    (
        rules.notebooks_are_short,
        extra(*(markdown(f"more-{n}", "x") for n in range(50))),
        "cells must be at most 60, got",
    ),
    (rules.sections_are_in_order, put("title", "Neighbours"), "first cell must be the title"),
    (rules.sections_are_in_order, put("start", "# Again"), "exactly one title"),
    (rules.sections_are_in_order, put("start", "Goals"), "admonition 'Before you start'"),
    (rules.sections_are_in_order, swap("recap", "next"), "must be Exercises, Recap, Read next"),
    (rules.sections_are_in_order, without("recap"), "must be Exercises, Recap, Read next"),
    (rules.objectives_are_recalled, put("recap", "## Recap\n\n- One."), "must have 3 lines"),
    (
        rules.objectives_are_recalled,
        put("start", "Before you start"),
        "the objective 'Count pairs'",
    ),
    (rules.by_hand_equals_library, put("equal", "assert True"), "by hand equals library"),
    (
        rules.exercises_grade_themselves,
        put("first-task-task", "```{exercise}\nDo it.\n```"),
        "every exercise must have a label",
    ),
    (
        rules.exercises_grade_themselves,
        put("first-task-start", "```{solution-start} other\n```"),
        "'first-task' must have a solution-start of its label",
    ),
    (
        rules.exercises_grade_themselves,
        without("first-task-end"),
        "'first-task' must end its solution",
    ),
    (
        rules.exercises_grade_themselves,
        without("first-task-solution"),
        "'first-task' must have a solution cell",
    ),
    (
        rules.exercises_grade_themselves,
        put("first-task-solution", "answer = 2"),
        "'first-task' must mark its solution",
    ),
    (
        rules.exercises_grade_themselves,
        without("second-task-check"),
        "'second-task' must have a check cell",
    ),
    (
        rules.exercises_grade_themselves,
        grader("second-task-check", points=0),
        "'second-task' must have a locked check worth points",
    ),
    (
        rules.exercises_grade_themselves,
        grader("second-task-check", locked=False),
        "'second-task' must have a locked check worth points",
    ),
    (
        rules.exercises_grade_themselves,
        grader("second-task-check", schema_version=2),
        "'second-task' must have nbgrader cells with grade_id and schema_version 3",
    ),
    (
        rules.exercises_grade_themselves,
        grader("second-task-check", grade_id="first-task-check"),
        "grade_id 'first-task-check' must be unique",
    ),
    (
        rules.exercises_grade_themselves,
        without(*(f"second-task-{end}" for end in ("task", "start", "solution", "end", "check"))),
        "exercises must be 2 to 3, got 1",
    ),
    (
        rules.figures_have_alt_text,
        put("imports", "plotting.show(figure)"),
        "show must be given alt",
    ),
    (rules.figures_have_alt_text, put("imports", "plt.plot([1])"), "figures must come from reclib"),
    (rules.figures_have_alt_text, put("start", "![](a.png)"), "picture 'a.png' must have alt"),
    (rules.figures_have_alt_text, put("start", '<img src="a.png">'), "must have alt text"),
    (
        rules.figures_have_alt_text,
        put("start", "```{figure} a.png\n:name: a\n```"),
        "picture 'a.png' must have alt text",
    ),
    (rules.core_chapters_have_a_slider, without("figure"), "made by plotting.slider"),
    (rules.citations_exist, put("next", "## Read next\n\n{cite}`a2000`"), "cites 'a2000', which"),
    (rules.citations_exist, put("next", "## Read next"), "must cite what to read next"),
    (
        rules.links_into_the_package_are_full,
        put("next", "{py:func}`ndcg`"),
        "a py role must name reclib in full, got 'ndcg'",
    ),
    (rules.words_are_plain, put("title", "# T\n\nYou simply add."), "got 'simply'"),
    (rules.words_are_plain, put("title", "# T \U0001f680"), "prose must be plain"),
]


@pytest.mark.parametrize(("rule", "edit", "message"), BAD_CHAPTERS)
def test_a_bad_chapter_breaks_its_rule(rule, edit, message, tree):
    tree.change(edit)
    assert any(message in problem for problem in rule(tree.root)), rule(tree.root)


def test_every_rule_has_a_bad_example():
    shown = {rule for rule, _, _ in BAD_CHAPTERS} | {
        rules.chapters_are_listed,
        rules.exemptions_are_needed,
        rules.nobody_is_sent_elsewhere,
        rules.modules_have_a_subject,
        rules.truth_is_kept_apart,
        rules.layers_are_the_parts,
    }
    assert shown == set(rules.RULES)


def test_a_long_cell_may_carry_the_tag_that_allows_it(tree):
    long = code("imports", "\n".join(f"x{n} = {n}" for n in range(13)), "long")
    tree.change(lambda notebook: notebook["cells"].__setitem__(3, long))
    assert rules.notebooks_are_short(tree.root) == []


def test_chapters_and_table_of_contents_must_agree(tree):
    tree.chapter("collaborative/linear", good_chapter())
    assert rules.chapters_are_listed(tree.root) == ["collaborative/linear: is not in _toc.yml"]
    tree.toc("collaborative/linear", "collaborative/neighbors", "foundations/first")
    assert rules.chapters_are_listed(tree.root) == [
        "foundations/first: is in _toc.yml and has no notebook",
        "_toc.yml must list chapters in the order of parts.toml",
    ]


def test_a_module_needs_a_test_of_its_stem_and_a_chapter(tree):
    tree.module("collaborative", "magic", test=False)
    tree.module("datasets", "loaders", test=False)
    tree.module("collaborative", "_hidden", test=False)
    assert rules.modules_have_chapter_and_test(tree.root) == [
        "reclib.collaborative.magic: has no tests/collaborative/test_magic.py",
        "reclib.collaborative.magic: no chapter names it",
    ]


def test_modules_wait_for_their_chapter_and_no_longer(tree, monkeypatch):
    monkeypatch.setattr(rules, "WAITING_MODULES", {"reclib.shop": "a chapter comes"})
    tree.module("shop", "simulation")
    assert rules.modules_have_chapter_and_test(tree.root) == []
    assert rules.exemptions_are_needed(tree.root) == []
    modules = ["reclib.collaborative.neighbors", "reclib.shop.simulation"]
    tree.change(meta(modules=modules))
    assert "take it out of WAITING_MODULES" in rules.exemptions_are_needed(tree.root)[0]


@pytest.mark.parametrize(
    "command",
    [
        "pip install {}",
        "pip3 install -U {}",
        "uv add {}",
        "pip install torch {}",
        "%pip install '{}'",
    ],
)
def test_nobody_is_told_to_install_the_other_reclib(command, tree):
    tree.write("README.md", command.format("recl" + "ib"))
    assert len(rules.nobody_is_sent_elsewhere(tree.root)) == 1
    tree.write("README.md", command.format("recl" + "ib-book"))
    assert rules.nobody_is_sent_elsewhere(tree.root) == []


@pytest.mark.parametrize("name", ["reclib/utils.py", "benchmarks/common/timing.py", "base.py"])
def test_a_module_without_a_subject_is_refused(name, tree):
    tree.write(name, "")
    assert rules.modules_have_a_subject(tree.root) == [
        f"{name}: a module must be called after its subject"
    ]


def test_only_allowed_places_read_the_truth(tree):
    for name in ("reclib/shop/a.py", "reclib/policies/environments.py", "tests/a.py",
                 "benchmarks/a.py"):  # fmt: skip
        tree.write(name, "shop.truth.oracle()")
    assert rules.truth_is_kept_apart(tree.root) == []
    tree.write("reclib/collaborative/neighbors.py", "x = 1\ny = shop.truth")
    assert rules.truth_is_kept_apart(tree.root) == [
        "reclib/collaborative/neighbors.py: line 2 must not read the shop's truth"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "from reclib.shop.truth import Truth",
        "from reclib.shop import truth",
        "import reclib.shop.truth as t",
        "import reclib.shop\nx = reclib.shop.truth.Truth",
    ],
)
def test_importing_the_truth_is_reading_it(tree, line):
    tree.write("reclib/collaborative/neighbors.py", line)
    assert len(rules.truth_is_kept_apart(tree.root)) == 1


def test_layers_must_be_the_parts_in_order(tree):
    text = (tree.root / "pyproject.toml").read_text()
    swapped = text.replace('"collaborative", ', "").replace(
        '"foundations"', '"foundations", "collaborative"'
    )
    (tree.root / "pyproject.toml").write_text(swapped)
    assert len(rules.layers_are_the_parts(tree.root)) == 1


def test_a_repeated_key_in_the_references_is_found(tree):
    tree.write("book/references.bib", "@article{sarwar2001,\n}\n@book{sarwar2001,\n}\n")
    assert rules.citations_exist(tree.root) == ["references.bib: 'sarwar2001' must be there once"]


# --- generated pages ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(generate.READMES))
def test_readme_is_up_to_date(name):
    assert (ROOT / name).read_text(encoding="utf-8") == generate.render_readme(ROOT, name), (
        "run `python run.py pages`"
    )


def test_the_article_has_sixty_nine_claims_and_each_names_known_chapters():
    claims = generate.read_claims(ROOT)
    assert [number for number, _, _ in claims] == [f"A{n}" for n in range(1, 70)]
    known = {name for part in generate.read_parts(ROOT) for name in part.chapters}
    assert [(number, set(names) - known) for number, _, names in claims if set(names) - known] == []
    assert [number for number, _, names in claims if not names] == []


def test_the_plan_has_fourteen_weeks_and_holds_every_chapter_once_and_in_order():
    parts = generate.read_parts(ROOT)
    weeks = generate.weekly_plan(parts)
    assert len(weeks) == 14
    assert all(weeks)
    assert [name for week in weeks for name in week] == [
        name for part in parts for name in part.chapters
    ]


def result(**changes):
    row = {
        "dataset": "s3rec-beauty",
        "split": "split_last",
        "protocol": "full ranking",
        "model": "EASE",
        "options": {"regularization": 200.0, "seed": 0},
        "metrics": {"ndcg@10": {"mean": 0.0434, "low": 0.041, "high": 0.046, "n_seeds": 1}},
        "seconds": {"fit": 11.0},
        "memory_mib": {"fit": 2000},
        "date": "2026-11-24T10:00:00",
        "machine": "two cores",
        "note": "",
    }
    return {**row, **changes}


@pytest.fixture
def results_tree(tmp_path):
    shutil.copytree(
        ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("cache", "*.json")
    )
    (tmp_path / "data" / "results").mkdir(exist_ok=True)

    def write(**rows):
        for name, row in rows.items():
            path = tmp_path / "data" / "results" / f"{name}.json"
            path.write_text(json.dumps(row), encoding="utf-8")
        return tmp_path

    return write


def section(text, title):
    return text.split(f"## {title}")[1].split("\n## ")[0]


def test_our_rows_stand_beside_published_ones_of_the_same_protocol(results_tree):
    text = generate.render_results(results_tree(ease=result(), other=result(split="random")))
    beside = section(text, "Amazon Beauty")
    assert "**EASE** regularization=200.0 | – | – | – | .0434 ± .0025 | ours, `ease`" in beside
    assert "| S3-Rec | .0387 | .0244 | .0647 | .0327 |" in beside
    assert "`other`" not in beside
    assert "S3-Rec" not in section(text, "s3rec-beauty, random")


def test_simulated_rows_never_stand_beside_published_ones(results_tree):
    text = generate.render_results(results_tree(shop_ease=result(dataset="shop")))
    alone = section(text, "The simulated shop")
    assert "ours, `shop_ease`" in alone
    assert "RUCAIBox" not in alone
    assert text.count("shop_ease") == 1


def test_a_simulated_row_has_a_heading_of_its_own_and_says_its_cost(results_tree):
    metrics = {
        "gain, control, planner": {"mean": -2e-10, "n_seeds": 1},
        "gain, default, planner": {"mean": 2.5844, "n_seeds": 1},
    }
    row = result(
        dataset="shop", split="worlds", metrics=metrics, note="",
        seconds={"tiny": 0.9}, memory_mib={"small": 169.3},
    )  # fmt: skip
    text = generate.render_results(results_tree(shop_worlds=row))
    lines = section(text, "The simulated shop: worlds").splitlines()
    assert "|  | gain, control | gain, default |" in lines
    assert "| planner | .0000 | 2.584 |" in lines  # no negative zero
    assert "Ours, row `shop_worlds`; tiny 0.90 s; small 169 MiB." in lines


def test_rows_are_ordered_by_the_last_metric(results_tree):
    weak = result(model="Weak", metrics={"ndcg@10": 0.001})
    lines = section(generate.render_results(results_tree(a=weak, b=result())), "Amazon Beauty")
    places = [lines.index(f"| {name}") for name in ("eSASRec", "**EASE**", "S3-Rec", "**Weak**")]
    assert places == sorted(places)


def test_the_glance_shows_ours_beside_published_rows_and_nothing_simulated(results_tree):
    root = results_tree(ease=result(), shop=result(dataset="shop", model="Simulated"))
    assert generate.render_glance(root, "en").splitlines()[2:] == [
        "| `s3rec-beauty` | EASE | ndcg@10 | .0434 ± .0025 "
        "| PopRec .0068, SASRec .0318, S3-Rec .0327, SASRec, sampled softmax .0531 |"
    ]


def test_errors_are_ordered_from_small_to_large_and_missing_ones_stand_last(results_tree):
    row = result(dataset="ml-100k", split="5-fold", metrics={"rmse": 0.9, "mae": 0.7})
    lines = section(generate.render_results(results_tree(a=row)), "MovieLens 100K, predicted")
    places = [lines.index(f"| {name} ") for name in ("**EASE**", "SVD++", "k-NN", "Random")]
    assert places == sorted(places)


def test_a_row_about_the_order_of_models_becomes_models_by_kinds(results_tree):
    names = ["ndcg@10, random, EASE", "ndcg@10, time, EASE", "ndcg@10, random, ItemKNN"]
    row = result(split="random and time", metrics={n: 0.1 * k for k, n in enumerate(names, 1)})
    lines = generate.render_results(results_tree(order=row))
    assert "| model | ndcg@10, random | ndcg@10, time |" in lines
    assert "| EASE | .1000 | .2000 |\n| ItemKNN | .3000 | – |" in lines
    assert "**EASE**" not in lines


def test_what_was_measured_beside_a_peer_is_shown(results_tree):
    peer = {"name": "implicit", "seconds": {"fit": 2.0}, "time ratio, ours to theirs": 0.5}
    lines = section(generate.render_results(results_tree(ease=result(peer=peer))), "Beside a peer")
    assert (
        "| `ease` | fit 11.00 s | implicit | fit 2.00 s | time ratio, ours to theirs 0.5 |" in lines
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('dataset = "ml-100k"', 'dataset = "shop"', "dataset must not be simulated"),
        ('read = "quoted"', 'read = "memory"', "read must be 'primary' or 'quoted', got 'memory'"),
        ('source = "NicolasHug/Surprise, README"', 'source = ""', "source must be named for"),
    ],
)
def test_published_numbers_that_may_not_be_printed_are_refused(old, new, message, results_tree):
    root = results_tree()
    path = root / "data" / "published.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        generate.read_published(root)


def test_the_status_page_lists_the_slowest_chapter_first(tree):
    book = generate.read_book(tree.root)
    cost = {"profile": "small", "device": "CPU", "versions": {"numpy": "2.4"}}
    text = generate.render_status(
        book,
        [
            {"chapter": "collaborative/neighbors", "seconds": 3.04, "peak_mib": 1200, **cost},
            {"chapter": "collaborative/linear", "seconds": 9.96, "peak_mib": 900, **cost},
        ],
    )
    assert "2 chapters ran in 13 s; the largest needed 1,200 MiB." in text
    assert text.index("`collaborative/linear` | 10.0 | 900") < text.index(
        "[Neighbours](../notebooks/collaborative/neighbors.ipynb) | 3.0 | 1,200"
    )
    assert "| numpy | 2.4 |" in text


def test_coverage_tells_written_from_planned(tree):
    tree.write(
        "book/article.md",
        "| A1 | one | `collaborative/neighbors` |\n"
        "| A2 | two | `collaborative/neighbors`, `collaborative/linear` |\n"
        "| A3 | three | `collaborative/linear` |\n",
    )
    text = generate.render_coverage(generate.read_book(tree.root))
    assert "Of 3 claims, 1 are written, 1 in part, 1 planned." in text
    assert "| A2 | two | [Neighbours](../notebooks/collaborative/neighbors.ipynb), " in text


def test_the_map_joins_parts_and_chapters(tree):
    book = generate.read_book(tree.root)
    english, chinese = generate.render_map(book, "en"), generate.render_map(book, "zh")
    assert "[Neighbours](notebooks/collaborative/neighbors.ipynb) | 45 | 1 |" in english
    assert "| 部分 | [近邻](notebooks/collaborative/neighbors.ipynb) | 45 | 1 |" in chinese


def test_a_block_without_marks_is_refused():
    with pytest.raises(ValueError, match="text must have the marks of block 'map', got none"):
        generate.replace_marked("# README", "map", "x")


def test_api_pages_leave_out_what_is_private_or_empty(tree):
    tree.module("collaborative", "linear", '"""Weights.\n\nMore."""\n\nclass EASE: ...\n')
    tree.module("collaborative", "_inner", '"""No."""\n\nclass Inner: ...\n')
    pages = generate.render_api(tree.root)
    assert sorted(pages) == ["index.md", "reclib_collaborative_linear.md"]
    assert (
        "[reclib.collaborative.linear](reclib_collaborative_linear.md) | Weights. |"
        in (pages["index.md"])
    )


def test_generate_fills_a_staged_copy_and_drops_chapters_that_were_not_staged(tree, tmp_path):
    staging = tmp_path / "staging"
    for name in ("book", "data"):
        shutil.copytree(ROOT / name, tree.root / name, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("cache", "__pycache__"))  # fmt: skip
    shutil.copytree(tree.root / "book", staging / "book")
    generate.generate(tree.root, staging, [])
    toc = (staging / "book" / "_toc.yml").read_text()
    assert "notebooks/" not in toc
    intro = (staging / "book" / "intro.md").read_text(encoding="utf-8")
    assert 'href="#part-foundations"' in intro
    assert 'id="part-foundations"' in intro
    assert "### Engineer" in intro
    for name in ("results.md", "status.md", "coverage.md", "api/index.md"):
        assert (staging / "book" / name).read_text(encoding="utf-8").startswith("# ")

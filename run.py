"""Every command of the book: ``python run.py book``, ``python run.py --help`` for the others.

Needs Python 3.11 or newer and nothing else: the first command sets up ``.venv`` from
``constraints.txt``. ``make`` is a thin face of this file.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is what tells the user
    sys.exit("run.py needs Python 3.11 or newer, got " + sys.version.split()[0])

import argparse
import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from book.closure import closure, digest, notebook_roots
from book.exercises import Notebook, read, set_parameters, strip, write

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "_build"
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / ".reclib-installed.json"
UNFINISHED = BUILD / "venv-unfinished"  # there while an install runs, and after one was cut off
STUDENT = ROOT / "student"
EXTRAS = ("book", "graph", "quality", "test", "tune")
PASSING = ("test", "lab", "results")  # commands that hand their arguments on
IN_CI = bool(os.environ.get("CI"))
BUDGET = {"tiny": 60.0, "small": 60.0, "full": 36_000.0}  # seconds a chapter may take

Execution = dict[str, Any]


class Problem(Exception):
    """Something the user can act on; printed without a traceback."""


# The environment


def setup_key(root: Path) -> str:
    """Return the digest of all that decides what is installed."""
    inputs = [root / "constraints.txt", root / "pyproject.toml", root / "reclib/__init__.py"]
    return digest(root, inputs, str(root))


def stamp_is_current(stamp: Path, key: str, extras: Sequence[str]) -> bool:
    """Say whether a stamp was left by a complete install of these extras with this key."""
    try:
        left = json.loads(stamp.read_text(encoding="utf-8"))
        return left["key"] == key and set(extras) <= set(left["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def setup(extras: Sequence[str] = EXTRAS) -> None:
    """Make ``.venv`` hold the tested versions; does nothing when it does.

    An install that was cut off leaves a mark, and the next run starts from an empty venv. Of two
    runs at once the second waits for the first.
    """
    if environment_is_ready(extras):
        return
    BUILD.mkdir(exist_ok=True)
    with alone(BUILD / "setup.lock"):
        if not environment_is_ready(extras):
            make_environment(extras)


def environment_is_ready(extras: Sequence[str]) -> bool:
    """Say whether ``.venv`` holds these extras, whole and of the versions wanted."""
    whole = PYTHON.exists() and not UNFINISHED.exists()
    return whole and stamp_is_current(STAMP, setup_key(ROOT), extras)


def make_environment(extras: Sequence[str]) -> None:
    """Install into ``.venv``, which is made anew where it is not whole."""
    usable = PYTHON.exists() and not UNFINISHED.exists()
    UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    if not usable:
        print(f"creating {VENV}", flush=True)
        if call([sys.executable, "-m", "venv", "--clear", VENV]):
            raise Problem("Python's venv module could not create .venv (see above)")
    failed = install(extras)
    UNFINISHED.unlink()
    if failed:
        raise Problem("pip could not install the packages (see above); the next run tries again")
    stamp = {"key": setup_key(ROOT), "extras": sorted(extras)}
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until no other process holds the lock; it is let go however this one ends."""
    with lock.open("w") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                with contextlib.suppress(OSError):  # it gives up after ten tries
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(extras: Sequence[str]) -> bool:
    """Install reclib and the tested versions of what it needs; say whether that failed."""
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "-c", ROOT / "constraints.txt"]
    index = os.environ.get("RECLIB_TORCH_INDEX")  # e.g. of CPU builds; see README
    pip += ["--extra-index-url", index] if index else []
    wanted = f"{ROOT}[{','.join(sorted(extras))}]"
    steps = ["setuptools"], ["--no-build-isolation", "-e", wanted]
    return any(loud([*pip, *step]) for step in steps)


def loud(command: Sequence[str | Path]) -> int:
    """Run a pip command and print what it does, without what is there already."""
    words = [str(word) for word in command]
    pipe: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(words, cwd=ROOT, env=environment(), **pipe) as process:
        for line in process.stdout or ():
            if not line.lstrip().startswith(("Requirement already", "Looking in")):
                print(line, end="", flush=True)
    return process.returncode


def setup_with_oracle() -> None:
    """Set up with the peers that tests compare with; outside CI they may be missing."""
    try:
        setup((*EXTRAS, "oracle"))
    except Problem:
        if IN_CI:
            raise
        print("the peers of the extra 'oracle' are missing: their tests will skip", flush=True)
        setup()


def environment() -> dict[str, str]:
    """Return the environment that every child gets: this venv, absolute data folders, UTF-8."""
    env = dict(os.environ)
    env.pop("PYTHONHOME", None)
    env["VIRTUAL_ENV"] = str(VENV)
    env["PATH"] = os.pathsep.join([str(BIN), env.get("PATH", "")])
    env["RECLIB_DATA"] = str(Path(env.get("RECLIB_DATA") or ROOT / "data" / "cache").resolve())
    mirror = Path(env.get("RECLIB_MIRROR") or ROOT.parent / "shared" / "datasets").resolve()
    if "RECLIB_MIRROR" in env or mirror.is_dir():
        env["RECLIB_MIRROR"] = str(mirror)
    env["IPYTHONDIR"] = str(BUILD / "ipython")
    env.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    env.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    env.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    env.setdefault("PYTHONUTF8", "1")
    return env


def call(command: Sequence[str | Path], **options: Any) -> int:
    """Run a command in the repository's root and return its exit status."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=ROOT, env=environment(), check=False, **options).returncode


def script(name: str) -> Path:
    """Return the path of a console script of the venv."""
    return BIN / (f"{name}.exe" if os.name == "nt" else name)


# Chapters


def toc() -> list[str]:
    """Return the chapters, ``part/stem``, in reading order; those not written yet are left out."""
    text = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^\s*-?\s*file:\s*notebooks/(\S+)", text, re.MULTILINE)
    missing = [chapter for chapter in listed if not notebook_path(chapter).exists()]
    if missing:
        print(f"left out, since there is no notebook yet: {', '.join(missing)}", flush=True)
    return [chapter for chapter in listed if chapter not in missing]


def notebook_path(chapter: str) -> Path:
    """Return where a chapter's source lies."""
    return ROOT / "notebooks" / f"{chapter}.ipynb"


def chosen(names: Sequence[str]) -> list[str]:
    """Return the named chapters, or all of them; a path to the notebook is a name too."""
    plain = [re.sub(r"^(\./)?notebooks/|\.ipynb$", "", name.replace("\\", "/")) for name in names]
    for name in plain:
        if not notebook_path(name).exists():
            known = sorted(
                p.relative_to(ROOT / "notebooks") for p in ROOT.glob("notebooks/*/*.ipynb")
            )
            listed = ", ".join(path.with_suffix("").as_posix() for path in known)
            raise Problem(f"chapter must be one of {listed or 'none so far'}, got {name}")
    return plain or toc()


def chapter_key(chapter: str, profile: str) -> str:
    """Return the digest of all that an executed chapter depends on."""
    notebook = read(notebook_path(chapter))
    files = closure(ROOT, notebook_roots(notebook))
    files += [notebook_path(chapter), ROOT / "constraints.txt", ROOT / "book" / "execute.py"]
    files += [*ROOT.glob("reclib/shop/**/*.py"), *ROOT.glob("data/*.toml")]
    files += ROOT.glob("data/results/*.json")
    return digest(ROOT, files, profile, "RECLIB_MIRROR" in environment())


def executed_path(chapter: str, profile: str) -> Path:
    """Return where a chapter's executed copy is kept."""
    return BUILD / "executed" / profile / f"{chapter}.ipynb"


def execute(
    chapters: Sequence[str], profile: str, *, force: bool = False
) -> tuple[list[Execution], list[str]]:
    """Execute the chapters that changed, one after another, each in its own process.

    Returns:
        What each finished chapter cost, and the names of those that failed.
    """
    keys = {chapter: chapter_key(chapter, profile) for chapter in chapters}
    known = (
        {} if force else {chapter: kept(chapter, profile, keys[chapter]) for chapter in chapters}
    )
    if any(known.get(chapter) is None for chapter in chapters):
        simulate_shop(profile)
    executions, failed = [], []
    for number, chapter in enumerate(chapters, start=1):
        print(f"[{number}/{len(chapters)}] {chapter} ", end="", flush=True)
        execution = known.get(chapter)
        if execution is not None:
            print("is unchanged")
        else:
            execution = execute_one(chapter, profile, keys[chapter])
        if execution is None:
            failed.append(chapter)
        else:
            executions.append(execution)
    return executions, failed


def kept(chapter: str, profile: str, key: str) -> Execution | None:
    """Return the record of an executed copy that is still good."""
    path = executed_path(chapter, profile)
    try:
        record: Execution = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if record.get("key") == key and path.exists() else None


def execute_one(chapter: str, profile: str, key: str) -> Execution | None:
    """Execute a chapter and keep its copy and record; None and its errors printed if it fails."""
    target = executed_path(chapter, profile)
    prepared, result = target.with_suffix(".prepared.ipynb"), target.with_suffix(".failed.ipynb")
    figures, record = target.with_suffix(".figures"), target.with_suffix(".json")
    record.unlink(missing_ok=True)
    write(set_parameters(read(notebook_path(chapter)), profile=profile), prepared)
    status = call([PYTHON, "-m", "book.execute", prepared, result, figures])
    if status:
        print(f"failed: {chapter}; what was executed is in {result}", flush=True)
        return None
    measured = json.loads(figures.read_text(encoding="utf-8"))
    execution = {"chapter": chapter, "profile": profile, "key": key, **measured}
    executed = read(result)
    executed["cells"].append(footer(execution))
    write(executed, target)
    record.write_text(json.dumps(execution, indent=1), encoding="utf-8")
    for path in (prepared, result, figures):
        path.unlink()
    over = " - over the budget" if execution["seconds"] > BUDGET[profile] else ""
    print(f"{execution['seconds']:.1f} s, {execution['peak_mib']} MiB{over}", flush=True)
    return execution


def footer(execution: Execution) -> dict[str, Any]:
    """Return the cell that says on the page how it was executed."""
    versions = dict(execution["versions"])
    own = versions.pop("reclib-book")
    others = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = (
        f"*This page was executed on {execution['date']} with the book's version {own} ({others}): "
        f"{execution['seconds']:.0f} s, at most {execution['peak_mib']} MiB, profile "
        f"`{execution['profile']}`, {execution['device']}.*"
    )
    return {"cell_type": "markdown", "id": "executed", "metadata": {}, "source": [text]}


def simulate_shop(profile: str) -> None:
    """Build the simulated shop once, so that no chapter waits for it."""
    start = time.perf_counter()
    print("simulating the shop ", end="", flush=True)
    code = f"from reclib import datasets; datasets.load('shop', profile={profile!r}, seed=0)"
    if call([PYTHON, "-c", code]):
        raise Problem("the shop could not be simulated (see above)")
    print(f"{time.perf_counter() - start:.1f} s", flush=True)


def storefront(profile: str) -> Path:
    """Make the storefront's shelves where what they are made from has changed; return the folder.

    They come from the shop's configuration, which is code, and from the code of the models.
    """
    folder = BUILD / "storefront" / profile
    files = [*closure(ROOT, ["book.storefront"]), *ROOT.glob("reclib/shop/**/*.py")]
    files += [ROOT / "constraints.txt", *ROOT.glob("book/storefront.*")]
    key, kept_key = digest(ROOT, files, profile), folder / "key"
    pages = [folder / "shelves.html", folder / "index.html"]
    if kept_key.exists() and kept_key.read_text(encoding="utf-8") == key:
        if all(path.exists() for path in pages):
            return folder
    start = time.perf_counter()
    print("filling the storefront's shelves ", end="", flush=True)
    kept_key.unlink(missing_ok=True)
    if call([PYTHON, "-m", "book.storefront", "build", folder, "--profile", profile]):
        raise Problem("book/storefront.py failed (see above)")
    kept_key.write_text(key, encoding="utf-8")
    print(f"{time.perf_counter() - start:.1f} s", flush=True)
    return folder


def storefront_alone(profile: str, picture: bool) -> int:
    """Make the storefront as a page of its own and, if wanted, README's picture of it."""
    setup()
    folder = storefront(profile)
    if picture and call([PYTHON, "-m", "book.storefront", "picture", folder]):
        raise Problem("the storefront could not be photographed (see above)")
    print(f"the storefront is at {(folder / 'index.html').as_uri()}")
    return 0


def summary(executions: Sequence[Execution]) -> None:
    """Print time and peak memory per chapter, slowest first, and the total."""
    for row in sorted(executions, key=lambda row: -row["seconds"]):
        print(f"{row['seconds']:8.1f} s {row['peak_mib']:6d} MiB  {row['chapter']}")
    total = sum(row["seconds"] for row in executions)
    peak = max((row["peak_mib"] for row in executions), default=0)
    print(f"{total:8.1f} s {peak:6d} MiB  {len(executions)} chapters in all")


# The site


def site_key(chapters: Sequence[str], profile: str) -> str:
    """Return the digest of all that the site is made from."""
    files = [ROOT / "_config.yml", ROOT / "run.py"]
    for folder in ("book", "reclib", "data"):
        files += [path for path in ROOT.glob(f"{folder}/**/*") if path.is_file()]
    ignored = re.compile(r"__pycache__|\.ipynb_checkpoints|/data/cache/")
    files = [path for path in files if not ignored.search(path.as_posix())]
    return digest(ROOT, files, profile, [chapter_key(chapter, profile) for chapter in chapters])


def stage(chapters: Sequence[str], profile: str, staging: Path) -> None:
    """Copy the pages and the executed chapters into a fresh folder."""
    shutil.rmtree(staging, ignore_errors=True)
    junk = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "book", staging / "book", ignore=junk)
    shutil.copy(ROOT / "_config.yml", staging)
    for chapter in chapters:
        target = staging / "notebooks" / f"{chapter}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(executed_path(chapter, profile), target)


def build_pages(staging: Path, output: Path, *strict: str) -> Path:
    """Run Jupyter Book over a staged folder; return the folder of pages that need no network."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    log = output / "build.log"
    build: list[str | Path] = [script("jupyter-book"), "build", staging]
    build += ["--toc", staging / "book" / "_toc.yml", *strict, "--path-output", output]
    with log.open("w", encoding="utf-8") as stream:
        options = {"stdout": stream, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        status = call(build, **options)
    pages = output / "_build" / "html"
    if status or not (pages / "index.html").exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        print("\n".join(line for line in lines if re.search(r"WARNING|ERROR|rror:", line)))
        raise Problem(f"Jupyter Book failed; all it said is in {log}")
    if call([PYTHON, ROOT / "book" / "offline.py", pages]):
        raise Problem("a page would load something from another host (see above)")
    return pages


def book(profile: str, force: bool) -> int:
    """Execute all chapters and build the site; warnings are errors."""
    start = time.perf_counter()
    setup()
    chapters, site = toc(), BUILD / "html"
    index, record = site / "index.html", BUILD / "executions.json"
    built, key = BUILD / "html.key", site_key(chapters, profile)
    unchanged = index.exists() and built.exists() and built.read_text(encoding="utf-8") == key
    if unchanged and not force:
        summary(json.loads(record.read_text(encoding="utf-8")))
        print(f"nothing changed; the book is at {index.as_uri()}")
        return 0
    executions, failed = execute(chapters, profile, force=force)
    if failed:
        raise Problem(f"failed: {', '.join(failed)} (see above)")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(executions, indent=1), encoding="utf-8")
    shelves = storefront(profile) / "shelves.html"
    print("building the site ", end="", flush=True)
    site_start = time.perf_counter()
    staging = BUILD / "staging"
    stage(chapters, profile, staging)
    shutil.copy(shelves, staging / "book")
    generate = (
        "import json, pathlib, sys; from book.generate import generate; root, staging, record = "
        "map(pathlib.Path, sys.argv[1:]); generate(root, staging, json.loads(record.read_text()))"
    )
    if call([PYTHON, "-c", generate, ROOT, staging, record]):
        raise Problem("book/generate.py failed (see above)")
    pages = build_pages(staging, BUILD / "site", "-n", "-W", "--keep-going")
    built.unlink(missing_ok=True)
    shutil.rmtree(site, ignore_errors=True)
    pages.replace(site)
    built.write_text(key, encoding="utf-8")
    print(f"{time.perf_counter() - site_start:.1f} s", flush=True)
    summary(executions)
    print(f"{time.perf_counter() - start:8.1f} s in all; the book is at {index.as_uri()}")
    return 0


def chapter(name: str, profile: str, show: bool) -> int:
    """Execute one chapter and open its page; links to the other chapters lead nowhere."""
    setup()
    [stem] = chosen([name])
    executions, failed = execute([stem], profile)
    if failed:
        raise Problem(f"failed: {stem} (see above)")
    staging = BUILD / "chapter-staging"
    stage([stem], profile, staging)
    own = f"notebooks/{stem}"
    listed = re.findall(r"file:\s*(book/\S+)", (ROOT / "book/_toc.yml").read_text(encoding="utf-8"))
    pages = [page for page in listed if any(staging.glob(f"{page}.*"))]
    lines = ["format: jb-book", f"root: {own}", "chapters:" if pages else ""]
    lines += [f"- file: {page}" for page in pages]
    (staging / "book" / "_toc.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    page = build_pages(staging, BUILD / "chapter") / f"{own}.html"
    summary(executions)
    print(f"the chapter is at {page.as_uri()}")
    if show and not IN_CI:
        webbrowser.open(page.as_uri())
    return 0


def test_chapters(names: Sequence[str], profile: str, force: bool) -> int:
    """Execute chapters without building pages: no stderr, inside the time budget."""
    setup()
    executions, failed = execute(chosen(names), profile, force=force)
    summary(executions)
    slow = [row["chapter"] for row in executions if row["seconds"] > BUDGET[profile]]
    if failed or slow:
        raise Problem(
            f"failed: {', '.join(failed) or 'none'}; too slow: {', '.join(slow) or 'none'}"
        )
    return 0


# Exercises


def student(names: Sequence[str], seed: int | None, force: bool) -> int:
    """Write the notebooks that students fill in; what is there stays unless forced."""
    for stem in chosen(names):
        target = STUDENT / f"{stem}.ipynb"
        notebook = strip(read(notebook_path(stem)))
        if seed is not None:
            notebook = set_parameters(notebook, seed=seed)
        if target.exists() and read(target) != notebook and not force:
            print(f"kept {target.relative_to(ROOT)}, which differs; --force writes it anew")
            continue
        write(notebook, target)
        print(f"wrote {target.relative_to(ROOT)}")
    return 0


def grade(names: Sequence[str], options: argparse.Namespace) -> int:
    """Print points per exercise and chapter, of students' notebooks or of the solutions."""
    setup()
    folder, chapters = STUDENT, chosen(names)
    if options.solutions:
        folder = BUILD / "student"
        for stem in chapters:
            write(strip(read(notebook_path(stem))), folder / f"{stem}.ipynb")
    elif not names:
        chapters = [stem for stem in chapters if (STUDENT / f"{stem}.ipynb").exists()]
    if not chapters:
        raise Problem("there is nothing to grade; `python run.py student` writes notebooks")
    command: list[str | Path] = [PYTHON, "-m", "book.exercises", folder, ROOT / "notebooks"]
    command += [*chapters, "--timeout", str(options.timeout)]
    command += ["--solutions"] if options.solutions else []
    command += ["--expect", options.expect] if options.expect else []
    command += ["--profile", options.profile] if options.profile else []
    return call(command)


# Checks


def notebook_problems(notebook: Notebook) -> list[str]:
    """Return what a committed notebook must not carry: outputs, counts, missing cell ids."""
    found = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            found.append(f"cell {number} must be committed without outputs")
        if not cell.get("id"):
            found.append(f"cell {number} must have an id")
        if {"collapsed", "execution", "papermill"} & set(cell["metadata"]):
            found.append(f"cell {number} must be committed without an execution's metadata")
    ids = [cell.get("id") for cell in notebook["cells"]]
    if len(set(ids)) < len(ids):
        found.append("cell ids must be unique")
    if {"widgets", "papermill"} & set(notebook["metadata"]):
        found.append("metadata must be committed without widgets and papermill's record")
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel must be python3")
    return found


def lint(quick: bool) -> int:
    """Check form, names, types, layers and notebooks; report everything before failing."""
    setup()
    checks: list[list[str | Path]] = [
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [PYTHON, "-m", "ruff", "check", "."],
    ]
    if not quick:
        checks += [[PYTHON, "-m", "mypy"], [script("lint-imports"), "--no-logo"]]
    failed = []
    for check in checks:
        name = " ".join(Path(word).name for word in check if word not in (PYTHON, "-m", "."))
        print(f"{name}:", flush=True)
        if call(check):
            failed.append(name)
    for path in sorted(ROOT.glob("notebooks/*/*.ipynb")):
        for problem in notebook_problems(read(path)):
            print(f"{path.relative_to(ROOT)}: {problem}")
            failed.append(path.name)
    print(f"failed: {', '.join(dict.fromkeys(failed))}" if failed else "all checks passed")
    return 1 if failed else 0


# Small commands


def serve(port: int) -> int:
    """Serve the built book to this machine's browser."""
    site = BUILD / "html"
    if not (site / "index.html").exists():
        raise Problem("there is no book yet; `python run.py book` builds it")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise Problem(f"port {port} cannot be opened ({error}); --port takes another") from error
    print(f"http://127.0.0.1:{server.server_port}/ (stop with Ctrl-C)", flush=True)
    with server:
        server.serve_forever()
    return 0


def clean(everything: bool) -> int:
    """Remove what was built; students' notebooks and downloaded data stay."""
    caches = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache")
    for name in ("_build", *caches, *([".venv"] if everything else [])):
        if (ROOT / name).exists():
            shutil.rmtree(ROOT / name)
            print(f"removed {name}")
    return 0


def in_venv(prepare: Callable[[], None], *command: str) -> Callable[..., int]:
    """Return a command that sets up and runs a module of the venv with the user's arguments."""

    def run(rest: Sequence[str]) -> int:
        prepare()
        return call([PYTHON, *command, *rest])

    return run


def parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return the options and, for the commands that pass them on, the remaining arguments."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *profiles: str) -> argparse.ArgumentParser:
        own_help = name not in PASSING  # the others pass -h on as well
        made = commands.add_parser(name, help=text, description=text, add_help=own_help)
        if profiles:
            made.add_argument("--profile", choices=list(BUDGET), default=profiles[0])
        return made

    def flag(made: argparse.ArgumentParser, name: str, text: str) -> None:
        made.add_argument(name, action="store_true", help=text)

    flag(
        command("book", "execute all chapters, build the site", "small"),
        "--force",
        "even if unchanged",
    )
    one = command("chapter", "execute one chapter and open its page", "small")
    one.add_argument("chapter", metavar="PART/STEM")
    flag(one, "--no-open", "do not open a browser")
    front = command("storefront", "make the page of shelves alone", "small")
    flag(front, "--picture", "photograph it for README and the introduction, with Chromium")
    several = command("test-chapters", "execute chapters without building pages", "tiny")
    several.add_argument("chapters", nargs="*", metavar="PART/STEM")
    flag(several, "--force", "even if unchanged")
    command("test", "run the tests; arguments go to pytest")
    flag(
        command("lint", "check form, types, layers and notebooks"),
        "--quick",
        "form and notebooks only",
    )
    command("lab", "open JupyterLab; arguments go to it")
    exercises = command("student", "write the notebooks that students fill in")
    exercises.add_argument("chapters", nargs="*", metavar="PART/STEM")
    exercises.add_argument("--seed", type=int, help="the class's own seed")
    flag(exercises, "--force", "overwrite notebooks that differ")
    grading = command("grade", "print points per exercise and chapter")
    grading.add_argument("chapters", nargs="*", metavar="PART/STEM")
    flag(grading, "--solutions", "grade the book's own solutions")
    grading.add_argument("--expect", choices=["full", "none"], help="fail on any other result")
    grading.add_argument("--profile", choices=list(BUDGET), help="instead of the notebook's own")
    grading.add_argument("--timeout", type=float, default=120, help="seconds a cell may take")
    command("results", "compute rows of data/results; --help tells how")
    command("pages", "write the generated parts of the READMEs")
    serving = command("serve", "serve the built book on this machine")
    serving.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    command("setup", "set up .venv")
    flag(command("clean", "remove what was built"), "--all", ".venv as well")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in PASSING:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options, rest


def dispatch(options: argparse.Namespace, rest: list[str]) -> int:
    """Run the chosen command and return its exit status."""
    passing = {
        "test": in_venv(setup_with_oracle, "-m", "pytest"),
        "lab": in_venv(setup, "-m", "jupyterlab", "--notebook-dir", str(ROOT / "notebooks")),
        "results": in_venv(setup_with_oracle, "-m", "benchmarks"),
        "pages": in_venv(setup, str(ROOT / "book" / "generate.py"), "--readme"),
        "setup": in_venv(setup, "-c", "import reclib; print('ready: reclib', reclib.__version__)"),
    }
    if options.command in passing:
        return passing[options.command](rest)
    own: dict[str, Callable[[], int]] = {
        "book": lambda: book(options.profile, options.force),
        "chapter": lambda: chapter(options.chapter, options.profile, not options.no_open),
        "storefront": lambda: storefront_alone(options.profile, options.picture),
        "test-chapters": lambda: test_chapters(options.chapters, options.profile, options.force),
        "lint": lambda: lint(options.quick),
        "student": lambda: student(options.chapters, options.seed, options.force),
        "grade": lambda: grade(options.chapters, options),
        "serve": lambda: serve(options.port),
        "clean": lambda: clean(options.all),
    }
    return own[options.command]()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; problems are one line on stderr and the exit status 1."""
    try:
        return dispatch(*parse(arguments))
    except (Problem, ValueError, KeyError, FileNotFoundError) as problem:
        print(f"run.py: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""pyproject.toml, constraints.txt, environment.yml, Makefile and CI say the same."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import reclib
import run

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIRED = [*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]
LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS = dict(line.split("==") for line in LINES)
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_distribution_is_reclib_book_and_has_the_version_of_the_package() -> None:
    assert PROJECT["name"] == "reclib-book"
    assert version("reclib-book") == reclib.__version__
    assert PROJECT["dynamic"] == ["version"]


@pytest.mark.parametrize("requirement", REQUIRED)
def test_every_dependency_is_pinned_to_a_version_that_it_accepts(requirement: str) -> None:
    parsed = Requirement(requirement)
    assert PINS[canonicalize_name(parsed.name)] in parsed.specifier


@pytest.mark.parametrize("requirement", REQUIRED)
def test_what_is_installed_is_what_is_pinned(requirement: str) -> None:
    name = canonicalize_name(Requirement(requirement).name)
    try:
        installed = version(name)
    except PackageNotFoundError:
        if os.environ.get("CI") or requirement not in EXTRAS["oracle"]:
            raise
        pytest.skip(f"{name} of the extra oracle is not installed")
    assert installed.partition("+")[0] == PINS[name]


def test_constraints_are_exact_sorted_and_free_of_local_builds() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in LINES)
    assert sorted(PINS) == list(PINS)
    assert len(PINS) == len(LINES)


def test_conda_installs_through_the_constraints_and_writes_no_version_of_its_own() -> None:
    python, pip, last = ENVIRONMENT["dependencies"]
    assert pip == "pip"
    assert last["pip"][1:] == ["-c constraints.txt", f"-e .[{','.join(run.EXTRAS)}]"]
    assert set(run.EXTRAS) <= set(EXTRAS)
    assert python == f"python={oldest_python()}"
    assert ENVIRONMENT["name"] == PROJECT["name"]


def oldest_python() -> str:
    return str(PROJECT["requires-python"].removeprefix(">="))


def test_the_checkers_and_ci_use_the_oldest_python() -> None:
    oldest = oldest_python()
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in (ROOT / "run.py").read_text()
    for path in WORKFLOWS:
        asked = re.findall(r'python-version: "(.*)"', path.read_text(encoding="utf-8"))
        assert asked and set(asked) == {oldest}


def test_an_isolated_or_unused_extra_is_not_installed_by_default() -> None:
    assert set(EXTRAS) - set(run.EXTRAS) == {"oracle"}


def test_make_has_run_py_s_commands_and_no_others() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    wanted = "book chapter test lint lab student grade results serve clean"
    assert sorted(phony[1].split()) == sorted(wanted.split())
    assert set(phony[1].split()) <= commands()


def commands() -> set[str]:
    done = subprocess.run(
        [run.sys.executable, ROOT / "run.py", "--help"], capture_output=True, text=True, check=True
    )
    return set(re.findall(r"^    ([a-z-]+)(?:  |$)", done.stdout, re.MULTILINE))


def test_ci_calls_only_commands_and_options_that_exist() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*WORKFLOWS, ROOT / ".ci" / "run")]
    calls = [call for text in texts for call in re.findall(r"run\.py ([a-z].*)", text)]
    assert len(calls) >= 10
    for call in calls:
        run.parse(call.split())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_a_time_limit_and_least_permissions(path: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"]["contents"] == "read"
    assert all(job["timeout-minutes"] <= 45 for job in workflow["jobs"].values())


def test_ci_s_script_is_executable_and_parses() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_pre_commit_uses_the_tools_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]


def test_every_layer_of_the_design_has_its_place_and_none_is_missing() -> None:
    [layers] = [one for one in PYPROJECT["tool"]["importlinter"]["contracts"] if "layers" in one]
    listed = re.findall(r"[a-z]+", " ".join(layers["layers"]))
    assert listed[::-1] == [
        *("foundations", "shop", "datasets", "knowledge", "collaborative", "sequential"),
        *("language", "scoring", "policies", "multimodal", "search", "applications"),
        *("production", "trust", "plotting"),
    ]
    assert layers["exhaustive"] is True


def test_the_package_carries_its_types() -> None:
    assert (Path(reclib.__file__).parent / "py.typed").is_file()

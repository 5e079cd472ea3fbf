"""The package table, read from the imports and held; and the habits that a machine can count."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALLED = ("training", "cluster", "results", "tuning", "evaluation")
PACKAGES = (*INSTALLED, "benchmarks")
OURS = {*PACKAGES, "tests"}

# What each package may import of ours, whole packages or single modules, and the libraries that
# it must never name.
MAY_IMPORT: dict[str, set[str]] = {
    "training": set(),
    "cluster": {"training.cli"},
    "results": {"training.cli"},
    "tuning": {"training", "cluster", "results"},
    "evaluation": {"training", "results"},
    "benchmarks": set(INSTALLED),
}
NEVER: dict[str, set[str]] = {
    "training": {"ray"},
    "cluster": set(),
    "results": {"ray"},
    "tuning": set(),
    "evaluation": {"ray"},
    "benchmarks": set(),
}
# `cluster` passes options on, unread: besides Python's own library it needs Ray alone.
ONLY_LIBRARIES: dict[str, set[str]] = {"cluster": {"ray"}}

READS_TEST_TEXTS = "read_test_rows"
DEFINES_IT = "training/data.py"

MAX_LINES = 450
LONGER: dict[str, str] = {}  # path: reason


def imported_names(source: str, package: str) -> set[str]:
    """Dotted names of all modules that a source imports, wherever in it.

    Args:
        source: Text of a module.
        package: Dotted name of the package that holds it, for relative imports.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(_from_modules(node, package))
        elif isinstance(node, ast.Call) and _imports_by_name(node.func):
            names.update(
                str(argument.value)
                for argument in [*node.args[:1], *(k.value for k in node.keywords)]
                if isinstance(argument, ast.Constant)
            )
    return names


def _from_modules(node: ast.ImportFrom, package: str) -> set[str]:
    if not node.level:
        return {str(node.module)}
    parents = package.split(".")
    parents = parents[: len(parents) - node.level + 1]
    if node.module:
        return {".".join([*parents, node.module])}
    if parents:
        return {".".join(parents)}
    return {alias.name for alias in node.names}  # `from .. import x` reaches beside the packages


def _imports_by_name(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"import_module", "__import__"}


def broken_rules(source: str, package: str) -> list[str]:
    """What a module of a package imports against the table, a line each."""
    top = package.split(".")[0]
    problems = []
    for name in sorted(imported_names(source, package)):
        target = name.split(".")[0]
        if target in OURS and target != top and not {name, target} & MAY_IMPORT[top]:
            problems.append(f"{top} imports {name}, which is not its to import")
        if target in NEVER[top]:
            problems.append(f"{top} imports {name}, which it must never name")
        if top in ONLY_LIBRARIES and not _is_known(target, top):
            problems.append(f"{top} imports {name}, but may import {ONLY_LIBRARIES[top]} alone")
    return problems


def _is_known(target: str, top: str) -> bool:
    return target in {*sys.stdlib_module_names, *OURS, top, *ONLY_LIBRARIES[top]}


def modules(*packages: str) -> list[Path]:
    """Every Python file of the packages, in order of their paths."""
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found, f"no modules under {packages}"
    return [path for path in found if "runs" not in path.relative_to(ROOT).parts]


def names_used(source: str) -> set[str]:
    """Every identifier, attribute, imported name and text constant of a source."""
    used: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.alias):
            used.update({node.name, *node.name.split(".")})
        elif isinstance(node, ast.FunctionDef):
            used.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            used.add(node.value)
    return used


def dotted_package(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    problems = [
        f"{path.relative_to(ROOT)}: {problem}"
        for path in modules(package)
        for problem in broken_rules(path.read_text("utf-8"), dotted_package(path))
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("training", "import ray"),
        ("training", "import ray.tune as rt"),
        ("training", "from ray import tune"),
        ("training", "def train():\n    from ray.tune import report"),
        ("training", "if TYPE_CHECKING:\n    import tuning.space"),
        ("training", "import numpy, results.files"),
        ("training.sample", "from ...tuning import space"),
        ("training", "from .. import evaluation"),
        ("training", "import importlib\nimportlib.import_module('ray')"),
        ("training", "from importlib import import_module\nimport_module(name='cluster.local')"),
        ("training", "__import__('ray')"),
        ("results", "from training.errors import InputError"),
        ("results", "import ray"),
        ("results", "from training import config"),
        ("cluster", "from training.config import Section"),
        ("cluster", "from training.client import ExitCode"),
        ("cluster", "import torch"),
        ("evaluation", "import ray"),
        ("evaluation", "from tuning.space import read"),
        ("evaluation", "import cluster"),
        ("tuning", "from evaluation.final import main"),
        ("tuning", "import benchmarks.replay"),
        ("evaluation", "from benchmarks.predict import measure"),
        ("benchmarks", "from tests.training import toys"),
        ("tuning", "from tests.training import test_data"),
    ],
)
def test_an_import_against_the_table_is_found(package: str, source: str) -> None:
    assert len(broken_rules(source, package)) == 1


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("training", "import torch\nfrom training.config import DataConfig\nfrom . import errors"),
        ("training.sample", "from ..errors import InputError\nfrom . import words"),
        ("tuning", "import ray\nfrom results import files\nfrom cluster.local import start"),
        ("evaluation", "from training.data import read_test_rows\nimport results.png_plots"),
        ("cluster", "import os\nimport ray\nfrom cluster import jobs"),
        ("cluster", "from training.cli import ExitCode"),
        ("results", "from training.cli import OptionParser\nimport training.cli"),
        ("benchmarks", "import ray\nfrom tuning import space\nimport evaluation.predict"),
        ("results", "text = 'import ray'  # ray is named, not imported"),
    ],
)
def test_an_import_within_the_table_is_let_through(package: str, source: str) -> None:
    assert broken_rules(source, package) == []


@pytest.mark.parametrize("heavy", ["torch", "pandas", "ray", "pydantic", "numpy"])
def test_the_command_line_kit_loads_no_large_library(heavy: str) -> None:
    script = f"import sys, training.cli; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_only_evaluation_asks_for_the_test_texts() -> None:
    askers = [
        str(path.relative_to(ROOT))
        for path in modules("training", "cluster", "results", "tuning")
        if path != ROOT / DEFINES_IT and READS_TEST_TEXTS in names_used(path.read_text("utf-8"))
    ]
    assert askers == []


def test_the_function_that_reads_the_test_texts_is_where_the_guard_expects_it() -> None:
    assert READS_TEST_TEXTS in names_used((ROOT / DEFINES_IT).read_text("utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "from training.data import read_test_rows",
        "from training.data import read_test_rows as other",
        "import training.data\ntraining.data.read_test_rows(data)",
        "getattr(data, 'read_test_rows')(data)",
    ],
)
def test_a_call_for_the_test_texts_is_found_in_every_form(source: str) -> None:
    assert READS_TEST_TEXTS in names_used(source)


def test_no_module_is_longer_than_450_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in modules(*PACKAGES)
    }
    too_long = {path: n for path, n in lengths.items() if n > MAX_LINES and path not in LONGER}
    assert too_long == {}
    assert {path for path in LONGER if lengths[path] <= MAX_LINES} == set()


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [str(path) for path in modules(*PACKAGES) if path.name in drawers] == []


def test_every_package_file_is_empty() -> None:
    filled = [
        str(path)
        for path in modules(*PACKAGES)
        if path.name == "__init__.py" and path.read_text("utf-8").strip()
    ]
    assert filled == []


def test_the_installed_packages_are_those_on_disk() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    on_disk = {dotted_package(path) for path in modules(*INSTALLED)}
    assert set(listed["tool"]["setuptools"]["packages"]) == on_disk

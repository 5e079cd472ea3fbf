"""What the READMEs promise: links that exist, options and code that work, a short first page."""

import ast
import re
import shlex
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from training.cli import ExitCode
from tuning.command_line import make_parser

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MOST_WORDS = 1800


def _readmes() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / path for path in tracked.splitlines()]


READMES = {str(path.relative_to(ROOT)): path for path in _readmes()}


@cache
def _anchors(path: Path) -> frozenset[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return frozenset(heading.strip().replace(" ", "-") for heading in kept)


def _code(path: Path) -> list[tuple[str, str]]:
    """Blocks of code with their language, which may be empty."""
    return re.findall(r"^```(\w*)\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_first_page_is_short() -> None:
    assert len(README.read_text("utf-8").split()) <= MOST_WORDS


@pytest.mark.parametrize("name", READMES)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    path = READMES[name]
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        file, _, anchor = target.partition("#")
        page = (path.parent / file).resolve() if file else path
        if page.is_dir():
            page = page / "README.md"
        if not page.exists() or (anchor and anchor not in _anchors(page)):
            broken.append(target)
    assert broken == []


def test_every_package_has_a_page_that_the_first_page_links_to() -> None:
    text = README.read_text("utf-8")
    for name in READMES:
        top, *rest = name.split("/")
        if rest == ["README.md"] and top != "benchmarks/data":
            assert f"({name}" in text, f"README.md does not link to {name}"


@pytest.mark.parametrize("name", READMES)
def test_python_in_a_page_is_python(name: str) -> None:
    for language, code in _code(READMES[name]):
        if language == "python":
            ast.parse(code)


@pytest.mark.parametrize("name", READMES)
def test_options_of_searches_in_a_page_exist(name: str) -> None:
    options = {option for action in make_parser()._actions for option in action.option_strings}
    text = READMES[name].read_text("utf-8")
    named = set(re.findall(r"--(?:data|model|training|search|cluster|output)\.\w+", text))
    assert named <= options
    for command in re.findall(r"^python -m tuning\.search.*$", text, re.MULTILINE):
        words = shlex.split(command, comments=True)
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options


def test_every_exit_code_is_explained() -> None:
    text = READMES["tuning/README.md"].read_text("utf-8")
    table = text[text.index("| code | meaning |") :].partition("\n\n")[0]
    listed = {int(code) for code in re.findall(r"\b\d+\b", table)}
    assert listed == {int(code) for code in ExitCode}


def test_every_dependency_has_its_reason() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    pages = "\n".join(path.read_text("utf-8") for path in READMES.values())
    listed = set(re.findall(r"[\w-]+", "\n".join(re.findall(r"^\|([^|]*)\|", pages, re.MULTILINE))))
    assert {re.split(r"[\[>]", name)[0] for name in needed} <= listed

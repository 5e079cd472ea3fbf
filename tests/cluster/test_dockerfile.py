"""The Dockerfile is linted, and CI runs its steps without a container engine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "cluster" / "Dockerfile"
STEP = re.compile(r"make ([a-z-]+) VENV=/usr/local")


def instructions() -> list[tuple[str, str]]:
    """Return name and rest of each instruction, lines joined, without comments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    pairs = [line.split(maxsplit=1) for line in joined if line]
    return [(name, re.sub(r"\s+", " ", rest)) for name, rest in pairs]


def of(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def hadolint(text: str) -> str:
    command = [str(Path(sys.executable).with_name("hadolint")), "--no-color", "-"]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.stdout


def test_hadolint_finds_nothing() -> None:
    assert hadolint(DOCKERFILE.read_text()) == ""


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("python:3.11.15-slim-bookworm\n\n", "python:latest\n\n", "DL3007"),
        ("-y --no-install-recommends", "--no-install-recommends", "DL3014"),
        ("    && rm -rf /var/lib/apt/lists/* \\\n", "", "DL3009"),
        ("WORKDIR /opt/severity-search\n", "WORKDIR opt\n", "DL3000"),
    ],
)
def test_a_broken_copy_is_found(old: str, new: str, code: str) -> None:
    text = DOCKERFILE.read_text()
    assert text.count(old) == 1
    assert code in hadolint(text.replace(old, new))


def test_the_base_is_one_exact_version() -> None:
    (base,) = of("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)


def test_all_steps_but_the_system_s_are_targets_that_ci_runs() -> None:
    system, *steps = of("RUN")
    assert system.startswith("apt-get update && apt-get install -y --no-install-recommends make &&")
    targets = [found[1] for step in steps if (found := STEP.fullmatch(step))]
    assert len(targets) == len(steps) == 2
    in_ci = (ROOT / ".ci" / "run").read_text().splitlines()
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert f"make {target}" in in_ci
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_packages_are_installed_before_the_source_that_changes_more_often() -> None:
    whole = instructions().index(("COPY", ". ."))
    before = [rest.split() for name, rest in instructions()[:whole] if name == "COPY"]
    needed = {"Makefile", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"}
    assert set(before[0][:-1]) == needed
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    stubs = dict(before[1:])
    folders = [name.replace(".", "/") for name in listed]
    assert stubs == {f"{folder}/__init__.py": f"{folder}/" for folder in folders}


def test_the_image_runs_as_the_pods_do_and_never_as_root() -> None:
    (user,) = of("USER")
    after = [name for name, _ in instructions()[instructions().index(("USER", user)) :]]
    assert "RUN" not in after
    assert "COPY" not in after
    cluster = yaml.safe_load((ROOT / "cluster" / "kubernetes" / "raycluster.yaml").read_text())
    security = cluster["spec"]["headGroupSpec"]["template"]["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}" == "1000:1000"
    assert "useradd --create-home --uid 1000 " in of("RUN")[0]


def test_nothing_stands_between_kuberay_and_its_command() -> None:
    assert of("ENTRYPOINT") == of("CMD") == []


def test_no_cache_of_pip_or_apt_stays() -> None:
    assert "PIP_NO_CACHE_DIR=1" in of("ENV")[0].split()
    assert "rm -rf /var/lib/apt/lists/*" in of("RUN")[0]


def fits(pattern: str, path: PurePosixPath) -> bool:
    """Return whether a pattern matches a path; one that starts with `**/` matches at any depth."""
    name = pattern.removeprefix("**/")
    at_its_depth = name != pattern or len(path.parts) == len(PurePosixPath(pattern).parts)
    return at_its_depth and path.match(name)


def is_sent(path: str) -> bool:
    """Return whether `.dockerignore` lets a file pass; its last matching pattern decides."""
    sent = True
    paths = [PurePosixPath(path), *PurePosixPath(path).parents][:-1]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        is_pattern = line and not line.startswith("#")
        if is_pattern and any(fits(line.removeprefix("!"), part) for part in paths):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize(
    "path",
    [
        *("Makefile", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"),
        *("cluster/session.py", "evaluation/final.py", "results/run.py", "training/data.py"),
        *("training/sample/sample.csv", "tuning/configurations/indobert.yaml"),
    ],
)
def test_what_the_program_needs_is_sent_to_the_build(path: str) -> None:
    assert (ROOT / path).exists()
    assert is_sent(path)


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".env", ".venv/bin/python", "tweets.csv", "keys/id_ed25519"),
        *("results/runs/first/config.yaml", "cluster/__pycache__/session.cpython-311.pyc"),
        *("tests/conftest.py", "severity_search.egg-info/PKG-INFO"),
    ],
)
def test_nothing_else_is(path: str) -> None:
    assert not is_sent(path)

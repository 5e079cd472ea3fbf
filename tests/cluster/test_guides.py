"""Commands in the guides beside the cluster descriptions."""

import re
import shlex
from pathlib import Path

import pytest

from cluster.submit import command_of, make_parser
from tests.cluster.launchers import lint
from tuning.command_line import read_command

FOLDER = Path(__file__).parents[2] / "cluster"
GUIDES = ["kubernetes/README.md", "launcher/README.md"]


def shell_of(guide: str) -> str:
    """Return the text of all code blocks."""
    text = (FOLDER / guide).read_text("utf-8")
    return "\n".join(re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def submissions(guide: str) -> list[list[str]]:
    """Return the command that each `python -m cluster.submit` of a guide runs on the cluster."""
    lines = shell_of(guide).replace("\\\n", " ").splitlines()
    given = [shlex.split(line) for line in lines if line.startswith("python -m cluster.submit")]
    read = [make_parser().parse_known_args(words[3:]) for words in given]
    assert {options.head for options, _ in read} == {"http://127.0.0.1:8265"}
    return [command_of(*options_and_rest)[0] for options_and_rest in read]


@pytest.mark.parametrize("guide", GUIDES)
def test_the_submitted_search_is_one_that_makes_a_cluster_grow(guide: str) -> None:
    search, _ = submissions(guide)
    assert search[:3] == ["python", "-m", "tuning.search"]
    _, _, configuration = read_command(search[3:])
    assert configuration.cluster.gpus_per_trial == 0.25
    assert configuration.search.max_concurrent == 16


@pytest.mark.parametrize("guide", GUIDES)
def test_the_final_evaluation_is_of_the_searched_run(guide: str) -> None:
    search, final = submissions(guide)
    _, _, configuration = read_command(search[3:])
    directory = configuration.cluster.storage_path or configuration.output.directory
    run = f"{directory}/{configuration.output.name}"
    assert final == ["python", "-m", "evaluation.final", "--run", run]


@pytest.mark.parametrize("guide", GUIDES)
def test_shellcheck_finds_nothing_in_a_guide_s_commands(guide: str) -> None:
    assert lint(shell_of(guide)) == ""


@pytest.mark.parametrize("guide", GUIDES)
def test_files_that_a_guide_names_are_there(guide: str) -> None:
    named = re.findall(r"cluster/[\w./-]+\.yaml|cluster/Dockerfile", shell_of(guide))
    assert named
    assert [path for path in named if not (FOLDER.parent / path).exists()] == []

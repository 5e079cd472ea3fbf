"""The help of `python -m tuning.search`; tests of what its options give are in `test_start`."""

import subprocess
import sys
from pathlib import Path

import pytest

from training.options import explanation
from tuning.command_line import ALL, COMMON, SHORT, read_command
from tuning.config import SECTIONS
from tuning.start import shipped_file, shipped_names

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def printed_help(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        read_command(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("topic", [(), (ALL,), *((section,) for section in SECTIONS)])
def test_help_fits_80_columns_and_ends_with_a_line(
    topic: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = printed_help(capsys, "-h", *topic)
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.endswith("\n")


def test_help_opens_with_the_common_options_in_few_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = printed_help(capsys, "--help")
    assert len(printed.split()) < 450
    for options in COMMON.values():
        assert all(f"\n  --{option}" in printed for option in options)
    words = one_line(printed)
    for option in [name for options in COMMON.values() for name in options]:
        if option in SHORT or "." in option:
            section, field = SHORT.get(option) or option.split(".")
            assert explanation(SECTIONS[section].model_fields[field]) in words
    assert "-h all" in words
    assert f"({', '.join(SECTIONS)})" in words


def test_help_explains_every_shipped_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    words = one_line(printed_help(capsys, "-h"))
    for name in shipped_names():
        summary = shipped_file(name).read_text("utf-8").splitlines()[0]
        assert summary.startswith("# ")
        assert f"{name} {summary.removeprefix('# ')}" in words


def test_help_of_all_has_every_field_with_its_value_in_each_base(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = printed_help(capsys, "-h", ALL)
    words = one_line(printed)
    for section, model in SECTIONS.items():
        assert f"\n{section}:\n" in printed
        assert all(f"--{section}.{name} VALUE" in words for name in model.model_fields)
    assert "[text; sample: sample; encoder: must be given]" in words
    assert "[one of asha, median, none; base: asha]" in words
    assert "sample: {batch_size: {choice: [8, 16, 32]}" in words
    assert "Exit codes: 0 done" in words


def test_help_of_a_section_has_its_fields_alone(capsys: pytest.CaptureFixture[str]) -> None:
    printed = printed_help(capsys, "-h", "cluster")
    assert "--cluster.storage_path VALUE" in printed
    assert "--training." not in printed


def test_help_of_a_mistyped_section_suggests_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_command(["-h", "serch"])
    assert ended.value.code == 2
    assert "did you mean search?" in capsys.readouterr().err


@pytest.mark.parametrize("topic", ["", ALL])
def test_help_loads_neither_torch_nor_ray_nor_pandas(topic: str) -> None:
    script = (
        "import sys\nfrom tuning.command_line import help_text\n"
        f"help_text({topic!r} or None)\n"
        "assert not {'torch', 'ray', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)

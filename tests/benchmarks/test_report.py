import json
import shutil
from pathlib import Path

import pytest

from benchmarks.report import as_table, main
from tests.browser import PROGRAMS


@pytest.mark.slow
@pytest.mark.long
def test_a_report_is_displayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium on the PATH")
    output = tmp_path / "report.json"
    assert main(["--trials", "12", "--browser", program, "--output", str(output)]) == 0
    (found,) = json.loads(output.read_text())["reports"]
    assert found["trials"] == 12
    assert 0 < found["mib"] < 0.5
    assert all(found[name] > 0 for name in ("seconds_completed", "first_paint_s", "charts_s"))
    assert as_table([found]) == capsys.readouterr().out.strip()


def test_a_browser_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="'netscape', but must be a Chromium"):
        main(["--browser", "netscape"])

"""What the checks found is told in words, as JSON, and to pytest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sixgym.envs.core.conformance import Verdict, report
from sixgym.envs.core.conformance.subject import Check

HERE = Path(__file__).parent


def verdicts() -> list[Verdict]:
    kinds = (("pass", ""), ("warn", "a\nline  end"), ("fail", "E: " + "x " * 3000), ("skip", "no"))
    return [
        Verdict(Check(f"c{i}", "It does", lambda subject: None), status, message, 0.25)
        for i, (status, message) in enumerate(kinds)
    ]


def test_a_line_has_status_name_title_and_reason() -> None:
    good, advised, failed, skipped = (report.line(v) for v in verdicts())
    assert good == "pass  c0: It does"
    assert advised.splitlines()[1].strip() == "> a line end"
    assert failed.startswith("FAIL  c2")
    assert len(failed) < 2_500
    assert skipped.endswith("> no")


def test_the_summary_counts_what_there_is() -> None:
    told = report.summary(verdicts())
    assert told == "1 passed, 1 passed with a warning, 1 failed, 1 skipped in 1.0 s"
    assert report.summary(verdicts()[:1]) == "1 passed in 0.2 s"


def test_the_json_says_everything() -> None:
    told = report.as_json("x/X-v0", "a thing", {"a": 1}, verdicts())
    assert json.loads(json.dumps(told)) == told
    assert told["passed"] is False
    assert told["counts"] == {"pass": 1, "warn": 1, "fail": 1, "skip": 1}
    assert told["verdicts"][1]["message"] == "a\nline  end"
    assert told["versions"]["gymnasium"]


def test_the_kit_is_two_lines_in_the_tests_of_others_and_an_option_of_pytest(
    tmp_path: Path,
) -> None:
    (tmp_path / "guests.py").write_text((HERE / "guests.py").read_text())
    (tmp_path / "test_mine.py").write_text(
        "from sixgym.testing import conformance\n\n"
        "@conformance('guests:Walk', 'guests:Deaf')\n"
        "def test_every_promise(check):\n    check()\n"
    )
    options = ["-q", "-rsf", "-p", "no:cacheprovider", "-p", "sixgym.testing"]
    command = [sys.executable, "-m", "pytest", *options, "--sixgym-check", "guests:Fixed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    for test in ("test_every_promise[guests:Deaf-seed_starts_over]",
                 "test_every_promise[guests:Deaf-another_seed_is_another_episode]"):  # fmt: skip
        assert f"FAILED test_mine.py::{test}" in done.stdout
    assert "guests:Walk-seed" not in done.stdout
    assert "nothing random" in done.stdout  # the option's, skipped

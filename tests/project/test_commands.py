"""The scripts of the two commands: the test command can fail, and nothing in them depends on one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest


def steps(root: Path, folder: Path, script: str, chosen: str = "") -> tuple[int, str]:
    """A list of steps run as .ci/test runs its own."""
    text = f"set -eu\nlogs='{folder}'\nchosen='{chosen}'\n. '{root}/.ci/steps'\n{script}\nfinish\n"
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True)
    return done.returncode, done.stdout


GOOD = "step one echo fine"


@pytest.mark.parametrize(
    ("script", "chosen", "status", "said"),
    [
        (GOOD, "", 0, r"^ok +\d+s +one +fine$"),
        (f"{GOOD}\nstep two sh -c 'echo no; exit 3'", "", 1, r"^FAILED +\d+s +two +no$"),
        (f"step two sh -c 'echo no; exit 3'\n{GOOD}", "", 1, r"^ok +\d+s +one +fine$"),
        (f"{GOOD}\nstep two true", "", 1, r"the step ran nothing"),
        (f"{GOOD}\nstep two no-such-program", "", 1, r"^FAILED +\d+s +two"),
        (f"{GOOD}\nstep two false", "one", 0, r"^ok +\d+s +one"),
        (GOOD, "one other", 1, r"there is no step other"),
        ("true", "", 1, r"0 s in all"),
        ("broken() { false && echo a; }\nstep two broken", "", 1, r"FAILED"),
    ],
)
def test_a_step_that_fails_fails_the_whole(root: Path, tmp_path: Path, script: str, chosen: str, status: int, said: str) -> None:
    code, output = steps(root, tmp_path, script, chosen)
    assert code == status, output
    assert re.search(said, output, re.MULTILINE), output


@pytest.mark.parametrize(("command", "times"), [("printf 'a row\\nthe end\\n'", 1), ("false", 0)])
def test_a_table_is_shown_of_a_step_that_passed(root: Path, tmp_path: Path, command: str, times: int) -> None:
    _, output = steps(root, tmp_path, f"table() {{ {command}; }}\nstep one table\nshow one\nshow other")
    assert output.count("    a row\n") == times


@pytest.mark.parametrize("listing", ["true", "printf ''", "false"])
def test_a_linter_over_no_files_fails(root: Path, tmp_path: Path, listing: str) -> None:
    over = re.search(r"^over\(\) \{.*?^\}", (root / ".ci" / "test").read_text(), re.MULTILINE | re.DOTALL)
    assert over
    code, output = steps(root, tmp_path, f"{over[0]}\nlist() {{ {listing}; }}\nstep lint over list echo")
    assert code == 1, output
    assert "FAILED" in output
    code, output = steps(root, tmp_path, f"{over[0]}\nlist() {{ echo a; echo b; }}\nstep lint over list true")
    assert (code, "2 files" in output) == (0, True), output
    assert steps(root, tmp_path, f"{over[0]}\nlist() {{ echo a; echo b; }}\nstep lint over list sh -c 'test $0 = a'")[0] == 1


@pytest.mark.parametrize("name", ["bare", "demo", "environment", "package", "prepare", "run", "steps", "test"])
def test_scripts_are_plain_sh(root: Path, name: str) -> None:
    path = root / ".ci" / name
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    text = path.read_text()
    assert not re.search(r"\[\[|\blocal \b|<<<|\bfunction \b|\bdeclare \b", text)
    assert "pkill" not in text


def test_run_is_the_test_command(root: Path) -> None:
    assert 'exec sh "$(dirname -- "$0")/test"' in (root / ".ci" / "run").read_text()


def test_tools_are_pinned(root: Path) -> None:
    lines = [line for line in (root / ".ci" / "requirements").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) >= 10
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line)] == []

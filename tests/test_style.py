"""Is every line of the repository as `ruff format` and `ruff check` want it, by the settings in
pyproject.toml?
"""

import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.deadlines import generous

ROOT = Path(__file__).resolve().parent.parent
RUFF = Path(sysconfig.get_path("scripts"), "ruff")


@pytest.mark.parametrize("command", ["format --check", "check"])
def test_ruff_finds_nothing(command):
    if not (RUFF.exists() or RUFF.with_suffix(".exe").exists()):
        pytest.skip("ruff is not installed: pip install 'minidl[test]'")
    done = subprocess.run(
        [RUFF, *command.split(), "--no-cache", "--output-format=concise"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=generous(20),
    )
    assert done.returncode == 0, done.stdout + done.stderr

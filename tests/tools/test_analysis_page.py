"""docs/analysis.md shows what the tools print."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "analysis.md").read_text()


def test_every_output_on_the_page_is_the_one_that_comes():
    setting = "".join(re.findall(r"^\w+=.*\n", PAGE, re.MULTILINE))
    shown = re.findall(r"^(python [^\n]*)\n```\n\n```text\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(shown) == 5
    for command, output in shown:
        script = setting + command.replace("python", sys.executable, 1)
        done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == output

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dmaelab.analysis import plots
from dmaelab.utils.errors import UserError

ROOT = Path(__file__).parents[2]


def test_png_of_many_logs(make_log, tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    header = {"identity": {"norm": "l2"}}
    logs = [(f"log {k}", make_log((0, 0, 0.1 * k), (0, 0, 0.5), (0, 1, 3.0), header=header)) for k in range(9)]
    logs.append(("nothing certified", make_log((0, 1, 0.3), header=header)))
    plots.plot_certified_accuracy(logs, tmp_path / "new" / "curves.png", title="ten logs")
    pixels = matplotlib.image.imread(tmp_path / "new" / "curves.png")
    assert pixels.shape[:2] == (608, 896)
    blue = np.abs(pixels[..., :3] - np.array([0x00, 0x72, 0xB2]) / 255).max(-1) < 0.02
    assert blue.sum() > 100


def test_curve_steps_down_after_each_radius_and_ends_at_its_own(make_log):
    radii, share, low, high = plots._steps(make_log((0, 0, 0.5), (0, 0, 0.25), (0, 1, 3.0), (0, -1, 0.0)))
    assert radii.tolist() == [0, 0.25, 0.5, 0.5]
    assert share.tolist() == [0.5, 0.5, 0.25, 0]
    assert ((low <= share) & (share <= high)).all()


def test_without_matplotlib_one_line_says_what_to_install(make_log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(UserError, match=r"pip install 'dmaelab\[demo\]'"):
        plots.plot_certified_accuracy([("a", make_log((0, 0, 1.0)))], tmp_path / "a.png")


def test_analysis_imports_neither_torch_nor_what_is_slow():
    code = (
        "import sys, dmaelab.analysis.plots, dmaelab.analysis.tables, dmaelab.stats.bounds, dmaelab.stats.geometry\n"
        "print([name for name in ('torch', 'matplotlib', 'statsmodels', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

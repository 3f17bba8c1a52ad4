import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dmaelab.analysis import figures
from dmaelab.utils.errors import UserError

ROOT = Path(__file__).parents[2]


def test_png_of_many_logs(make_log, tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    logs = [(f"log {k}", make_log((0, 0, 0.1 * k), (0, 0, 0.5), (0, 1, 3.0))) for k in range(9)]
    logs.append(("nothing certified", make_log((0, 1, 0.3))))
    figures.plot_certified_accuracy(logs, tmp_path / "new" / "curves.png", title="ten logs")
    figures.plot_certified_accuracy(logs[:3], tmp_path / "few.png")
    pixels, few = (matplotlib.image.imread(tmp_path / name) for name in ("new/curves.png", "few.png"))
    assert few.shape[:2] == (608, 896)
    assert pixels.shape[0] > 608  # room for the legend below the curves
    assert pixels.shape[1] == 896
    for picture in (pixels, few):
        blue = np.abs(picture[..., :3] - np.array([0x00, 0x72, 0xB2]) / 255).max(-1) < 0.02
        assert blue.sum() > 100


def texts_of(path):
    """Return the text of an SVG, which matplotlib keeps as comments beside its outlines."""
    return re.findall("<!-- (.*?) -->", path.read_text())


def test_svg_names_every_curve_and_the_norm(make_log, tmp_path):
    pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    log = make_log((0, 0, 0.4), (0, 0, 0.5))
    figures.plot_certified_accuracy([("first", log), ("second", log)], tmp_path / "same.svg")
    assert {"first", "second", r"$\ell_2$ radius (pixels in [0, 1])"} <= set(texts_of(tmp_path / "same.svg"))
    other = make_log((0, 0, 0.4), header={"identity": {"norm": "l1"}})
    figures.plot_certified_accuracy([("first", log), ("second", other)], tmp_path / "mixed.svg")
    assert {"first (l2)", "second (l1)", "radius (pixels in [0, 1])"} <= set(texts_of(tmp_path / "mixed.svg"))


def test_curves_of_sequential_logs_are_called_lower_bounds(make_log, tmp_path):
    pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    identity = {"norm": "l2", "certifier": {"name": "sequential", "radii": [0.0, 0.25]}}
    figures.plot_certified_accuracy(
        [("seq", make_log((0, 0, 0.4), header={"identity": identity}))], tmp_path / "curve.svg"
    )
    assert "seq (lower bound, sampled for some radii)" in texts_of(tmp_path / "curve.svg")
    log = make_log((0, 0, 0.4), header={"identity": identity})
    figures.plot_radii(("seq", log), ("other", log), tmp_path / "radii.svg")
    assert "A: seq (lower bound, sampled for some radii)" in texts_of(tmp_path / "radii.svg")


def test_a_title_does_not_break_inside_a_setting(make_log, tmp_path):
    pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    title = "Certified accuracy (%) on 200 held-out digits, sigma = 0.25, n0 = 100, n = 10,000, alpha = 0.001"
    figures.plot_certified_accuracy([("log", make_log((0, 0, 0.4)))], tmp_path / "curve.svg", title=title)
    [first, second] = [text for text in texts_of(tmp_path / "curve.svg") if "=" in text]
    assert first.endswith("sigma = 0.25,".replace(" = ", "\xa0=\xa0"))
    assert second.startswith("n0\xa0=\xa0100,")


def test_labels_with_dollar_signs_are_no_formulas(make_log, tmp_path):
    pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    log = make_log((0, 0, 0.4))
    figures.plot_certified_accuracy([(r"$\foo$", log)], tmp_path / "curve.svg", title=r"$\bar$")
    figures.plot_radii((r"$\foo$", log), ("b", log), tmp_path / "radii.svg")
    assert r"$\foo$" in texts_of(tmp_path / "curve.svg")


def test_logs_of_predict_have_no_curve(make_log, tmp_path):
    log = make_log((0, 0, 0.0), header={"identity": {"certifier": {"name": "predict"}}})
    with pytest.raises(UserError, match=r"hand/made\.tsv is a log of PREDICT: it has classes but no radii"):
        figures.plot_certified_accuracy([("a", log)], tmp_path / "curves.png")


def test_the_scatter_plot_counts_the_images_that_each_log_certifies(make_log, tmp_path):
    pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    a = make_log((0, 0, 0.4), (0, 0, 0.5), (0, 1, 3.0), (0, -1, 0.0), (0, 1, 2.0))
    b = make_log((0, 0, 0.6), (0, 1, 0.5), (0, 0, 0.3), (0, -1, 0.0), (0, 1, 2.0))
    figures.plot_radii(("model of A", a), ("model of B", b), tmp_path / "radii.svg")
    texts = texts_of(tmp_path / "radii.svg")
    assert {"both: 1", "only A: 1", "only B: 1", "neither: 2", "larger in B: 2, larger in A: 1, equal: 2"} <= set(texts)
    assert {"A: model of A", "B: model of B"} <= set(texts)
    figures.plot_radii(("a", make_log((0, 1, 1.0))), ("b", make_log((0, 1, 1.0))), tmp_path / "nothing.png")


def test_other_kinds_of_pictures_are_refused_before_anything_is_drawn(make_log, tmp_path):
    log = make_log((0, 0, 1.0))
    for name in ("curves.pdf", "curves", "curves.png.txt"):
        with pytest.raises(UserError, match=f"{name}: a picture's name ends in .png or .svg"):
            figures.plot_certified_accuracy([("a", log)], tmp_path / name)
        with pytest.raises(UserError, match=name):
            figures.plot_radii(("a", log), ("b", log), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_curve_steps_down_after_each_radius_and_ends_at_its_own(make_log):
    radii, share, low, high = figures._steps(make_log((0, 0, 0.5), (0, 0, 0.25), (0, 1, 3.0), (0, -1, 0.0)))
    assert radii.tolist() == [0, 0.25, 0.5, 0.5]
    assert share.tolist() == [0.5, 0.5, 0.25, 0]
    assert ((low <= share) & (share <= high)).all()


def test_without_matplotlib_one_line_says_what_to_install(make_log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(UserError, match="pip install matplotlib"):
        figures.plot_certified_accuracy([("a", make_log((0, 0, 1.0)))], tmp_path / "a.png")


def test_analysis_imports_neither_torch_nor_what_is_slow():
    code = (
        "import sys, dmaelab.analysis.figures, dmaelab.analysis.compare,"
        " dmaelab.analysis.tables\n"
        "print([name for name in ('torch', 'matplotlib', 'statsmodels', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

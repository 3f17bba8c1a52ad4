import csv
import io

import pytest

from dmaelab.analysis.layout import Entry, Grid, render


@pytest.fixture
def grid():
    rows = [
        ["0.5", "a_b & 50%", Entry("1.0 ± 0.2", "best"), Entry("2.0", "second", "+1.0")],
        ["[0, 0.75]", "c|d*", Entry("0"), Entry("-")],
    ]
    return Grid(
        ["sigma", "Method", "r=0.0", "r=0.5"],
        rows,
        left=2,
        blocks=[1],
        caption="A #1",
        notes=["one >= two", "b~c^2\\d"],
    )


def test_text(grid):
    lines = render(grid, "text").splitlines()
    assert lines[:2] == ["A #1", ""]
    assert lines[4].split("  ") == ["0.5", "", "", "", "a_b & 50%", "1.0 ± 0.2**", "2.0* (+1.0)"]
    assert lines[5] == lines[3]
    assert lines[6].split() == ["[0,", "0.75]", "c|d*", "0", "-"]
    assert lines[7:] == ["", "one >= two", "b~c^2\\d"]


def test_markdown_shows_bars_and_stars_as_they_are(grid):
    lines = render(grid, "markdown").splitlines()
    assert [cell.strip() for cell in lines[4].split(" | ")] == [
        "| 0.5",
        "a_b & 50%",
        r"**1.0 ± 0.2**\*\*",
        r"2.0\* (+1.0) |",
    ]
    assert r"c\|d\*" in lines[5]
    assert lines[-4:] == ["", "one >= two", "", "b~c^2\\d"]


def test_latex_is_escaped_and_ready_to_paste(grid):
    assert render(grid, "latex").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{A \#1}",
        r"\begin{tabular}{llrr}",
        r"\toprule",
        r"sigma & Method & r=0.0 & r=0.5 \\",
        r"\midrule",
        r"0.5 & a\_b \& 50\% & \textbf{1.0 $\pm$ 0.2}$^{**}$ & 2.0$^{*}$ $_{(+1.0)}$ \\",
        r"\midrule",
        r"{[}0, 0.75] & c\textbar{}d* & 0 & - \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize one $\ge$ two}",
        r"\par\smallskip{\footnotesize b\textasciitilde{}c\textasciicircum{}2\textbackslash{}d}",
        r"\end{table}",
    ]


def test_csv_reads_back_without_marks(grid):
    rows = list(csv.reader(io.StringIO(render(grid, "csv"))))
    assert rows[0] == ["sigma", "Method", "r=0.0", "r=0.5"]
    assert rows[1][:2] == ["0.5", "a_b & 50%"]
    assert rows[2] == ["[0, 0.75]", "c|d*", "0", "-"]

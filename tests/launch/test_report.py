"""What a pipeline leaves behind."""

from types import SimpleNamespace

from dmaelab.analysis.log_labels import relabel
from dmaelab.launch.report import paper_tables, write_report
from dmaelab.launch.stages import PipelineSettings
from dmaelab.records.readers import read_log


def test_a_report_shows_answers_without_radii_in_the_table_alone(tmp_path):
    log = tmp_path / "answers.tsv"
    log.write_text("idx\tlabel\tpredict\n0\t0\t0\n")
    settings = PipelineSettings(out_dir=str(tmp_path))
    text = write_report(SimpleNamespace(settings=settings, out=tmp_path, debug=False, logs=lambda: [("answers", log)]))
    assert "answers" in text
    assert "curves" not in text
    assert not (tmp_path / "curves.png").exists()


def test_a_report_has_the_papers_tables_at_radii_of_its_own(tmp_path):
    (tmp_path / "log.tsv").write_text(
        "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t1\t1\t0.3\t1\t0.1\n1\t1\t1\t0.1\t1\t0.1\n"
    )
    labels = {"method": "RS", "backbone": "tiny", "eval_sigma": 0.25, "n": 400, "n0": 100, "alpha": 0.001}
    log = relabel(read_log(tmp_path / "log.tsv"), labels)
    assert paper_tables(2, [log], tmp_path, [0.0, 0.25, 1.0]).count("r=") == 3
    assert (tmp_path / "table2.tex").read_text().count("r=") == 3
    assert (tmp_path / "table2.md").read_text().count("r=") == 3
    assert paper_tables(2, [log], tmp_path).count("r=") == 6

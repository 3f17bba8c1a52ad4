"""The report of a finished pipeline: tables, certified-accuracy curves, comparisons and reconstructions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dmaelab.analysis.compare import align, compare, comparison_text
from dmaelab.analysis.figures import plot_certified_accuracy
from dmaelab.analysis.paper.tables import paper_table
from dmaelab.analysis.tables import make_table
from dmaelab.config.plain import interpolated
from dmaelab.launch.job import Job, Spread
from dmaelab.launch.plan import Plan
from dmaelab.launch.stages import PipelineSettings, read_stages, repeated
from dmaelab.pictures.reconstructions import draw_reconstructions
from dmaelab.records.readers import Log, read_log
from dmaelab.utils.files import write_text


@dataclass(frozen=True)
class ReportJob(Job):
    """Write the report of a finished pipeline, and print it.

    Attributes:
        debug: whether the pipeline was a trial.
    """

    kind: ClassVar[str] = "report"
    spread: ClassVar[Spread] = "one"

    debug: bool = False

    def work(self) -> None:
        """Write the report and print it. The configs of the stages are not opened again."""
        cfg = self.load_config()
        settings = PipelineSettings(**interpolated(cfg.pipeline))
        stages = read_stages(interpolated(cfg.get("stages")) or [])
        print(write_report(Plan(settings, repeated(stages, settings.seeds), self.debug)), flush=True)


def write_report(plan: Plan) -> str:
    """Write tables, ``curves.png``, comparisons and pictures to ``<out_dir>/<report>``; return the text to print.

    All stages of the plan must be finished.
    """
    settings, out = plan.settings, plan.out / plan.settings.report
    title = f"A trial on generated images. {settings.title}" if plan.debug else settings.title
    lines = [title] if title else []
    logs = [(label, read_log(folder)) for label, folder in plan.logs()]
    if logs:
        write_text(out / "table.md", make_table(logs, "markdown", settings.radii, intervals=True) + "\n")
        write_text(out / "table.json", make_table(logs, "json", settings.radii) + "\n")
        lines.append(make_table(logs, "text", settings.radii, intervals=True))
    if curves := [(label, log) for label, log in logs if log.claims_radii]:
        plot_certified_accuracy(curves, out / "curves.png", title)
        lines.append(f"curves: {out / 'curves.png'}")
    for number in settings.tables:
        lines += ["", paper_tables(number, [log for _, log in logs], out, settings.table_radii)]
    if settings.compare:
        stages = dict(zip(plan.certifications(), logs, strict=True))
        text = "\n\n".join(_comparison(stages[a], stages[b], settings.radii) for a, b in settings.compare)
        write_text(out / "comparisons.txt", text + "\n")
        lines += ["", text, ""]
    for name in settings.pictures:
        lines += draw_reconstructions(plan.run_of(name), out / f"reconstruction_{name}.png")
    return "\n".join([*lines, settings.note] if settings.note else lines)


def paper_tables(number: int, logs: Sequence[Log], out: Path, radii: Sequence[float] | None = None) -> str:
    """Write ``table<number>.md``, ``.tex`` and ``.json`` in the paper's layout, with intervals; return it as text."""
    for style, suffix in (("markdown", "md"), ("latex", "tex"), ("json", "json")):
        write_text(
            out / f"table{number}.{suffix}", paper_table(number, logs, style=style, radii=radii, intervals=True) + "\n"
        )
    return paper_table(number, logs, radii=radii, intervals=True)


def _comparison(a: tuple[str, Log], b: tuple[str, Log], radii: Sequence[float]) -> str:
    pair = align(a[1], b[1])
    return f"A is {a[0]}, B is {b[0]}\n{comparison_text(compare(*pair, radii))}"

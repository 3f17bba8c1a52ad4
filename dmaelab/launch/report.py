"""What a pipeline leaves behind: one table, the curves, and the reconstructions."""

from collections.abc import Sequence
from pathlib import Path

from dmaelab.analysis.compare import align, compare, describe
from dmaelab.analysis.paper.tables import paper_table
from dmaelab.analysis.plots import plot_certified_accuracy
from dmaelab.analysis.tables import make_table
from dmaelab.config import instantiate
from dmaelab.engine import run_dir
from dmaelab.launch.plan import Plan
from dmaelab.pictures.denoising import denoising_report
from dmaelab.pictures.reconstructions import reconstruction_grid
from dmaelab.records.readers import Log, read_log
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_json, write_text


def write_report(plan: Plan) -> str:
    """Write tables, ``curves.png``, comparisons and pictures to ``<out_dir>/<report>``; return the text to print.

    The stages of the plan have been run.
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
        lines += describe_reconstruction(plan.run_of(name), out / f"reconstruction_{name}.png")
    return "\n".join([*lines, settings.note] if settings.note else lines)


def paper_tables(number: int, logs: Sequence[Log], out: Path, radii: Sequence[float] | None = None) -> str:
    """Write ``table<number>.md``, ``.tex`` and ``.json`` of the paper's layout, with intervals; return it as text."""
    for style, suffix in (("markdown", "md"), ("latex", "tex"), ("json", "json")):
        write_text(
            out / f"table{number}.{suffix}", paper_table(number, logs, style=style, radii=radii, intervals=True) + "\n"
        )
    return paper_table(number, logs, radii=radii, intervals=True)


def _comparison(a: tuple[str, Log], b: tuple[str, Log], radii: Sequence[float]) -> str:
    pair = align(a[1], b[1])
    return f"A is {a[0]}, B is {b[0]}\n{describe(compare(*pair, radii))}"


def describe_reconstruction(run: Path, picture: Path, weights: str = "final") -> list[str]:
    """Draw the reconstructions of a pre-training run; return lines that name the picture and its errors."""
    if picture.suffix.lower() != ".png":
        raise UserError(f"{picture}: a picture of reconstructions is a PNG, let its name end in .png")
    cfg = run_dir.load_run(run)
    device = pick_device("auto")
    model = run_dir.load_model(run, weights, device)
    if not hasattr(model, "reconstruct"):
        raise UserError(f"{run} trained a {type(model).__name__}, which reconstructs nothing: name a pre-training run")
    test_set = instantiate(cfg.data.test)
    reconstruction_grid(model, test_set, picture)
    lines = [f"reconstructions: {picture}"]
    if not model.norm_pix and model.corruption is not None:
        errors = denoising_report(model, instantiate(cfg.data.train), test_set, device)
        write_json(picture.with_suffix(".json"), errors)
        baseline = min(errors["noisy"], errors["mean_image"])
        lines.append(
            f"  mean squared error on held-out images: {errors['reconstruction']:.4f} from noisy, masked input;"
            f" noisy image {errors['noisy']:.4f}, training-mean image {errors['mean_image']:.4f}"
            f" ({errors['reconstruction'] / baseline:.2f}x the smaller)"
        )
        lines.append(
            f"  on visible patches {errors['visible']:.4f}; clipped noisy image {errors['visible_noisy_clipped']:.4f}"
        )
    return lines

"""run_attack: search for counterexamples inside the certified balls of a finished certification log."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from dmaelab.analysis.views import skipped
from dmaelab.attacks.pgd import PGD
from dmaelab.config import instantiate
from dmaelab.engine.certification import Certification, images_of
from dmaelab.records.folders import HEADER
from dmaelab.records.identity import CLASSIFIER, IMAGES, NOISE
from dmaelab.records.readers import Log, read_log
from dmaelab.smoothing.attack_report import OUTCOMES, AttackReport
from dmaelab.smoothing.identity import make_context, make_identity
from dmaelab.smoothing.soundness import attack_certified
from dmaelab.utils.differences import differences, listed
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_json
from dmaelab.utils.random import Draw

REPORT = "attack.json"


def run_attack(
    certification: Certification,
    *,
    images: int = 20,
    scale: float = 1.0,
    attack: PGD | None = None,
    n: int = 1000,
    seed: int = 0,
) -> tuple[AttackReport, Path]:
    """Attack certified images of a finished log, and write the file :data:`REPORT` into the folder of the log.

    Args:
        certification: the certification whose log is attacked; it must have been run.
        images: number of certified images to attack, drawn at random; all of them if there are fewer.
        scale: the search goes up to ``scale`` times the certified radius of an image.
        attack: search method; None takes ``PGD()``.
        n: noisy samples of PREDICT (Cohen et al., 2019) at each point that the search finds. PREDICT uses the alpha
            of the log.
        seed: seed of the search and of PREDICT.

    Returns:
        The outcome for each image, and the path of the file.

    Raises:
        UserError: bad input, no log, or a log of another classifier, noise or data set (names the differing keys).
    """
    settings, folder = certification.settings, certification.folder
    if images < 1:
        raise UserError(f"the number of images is {images}: attack at least 1")
    if not (folder / HEADER).exists():
        raise UserError(f"{folder} holds no certification log: run tools/certify.py first, with the same overrides")
    attack, log, device = attack or PGD(), read_log(folder), pick_device(settings.device)
    dataset = instantiate(certification.cfg.dataset)
    load, smoothing = images_of(dataset), certification.smoothing(dataset, device, seed, indices=[])
    first = load(int(log.index.min()))
    facts = make_identity(smoothing, certification.certifier, indices=[], first=first) | certification.identity(device)
    _check_same(log, facts)
    chosen, tried = _choose(log, images, seed)
    report = attack_certified(
        smoothing,
        [load(index)[0] for index in chosen.index.tolist()],
        list(zip(chosen.prediction.tolist(), chosen.radius.tolist(), strict=True)),
        alpha=log.identity["alpha"],
        n=n,
        attack=attack,
        scale=scale,
        indices=chosen.index.tolist(),
        tried=tried,
    )
    write_json(folder / REPORT, _plain(report, log, vars(attack) | {"n": n, "seed": seed}, device))
    return report, folder / REPORT


def report_lines(report: AttackReport) -> list[str]:
    """Return the lines to print: a table with a row for each image, and a summary line."""
    head = ("image", "class", "radius", "distance", "answer", "outcome")
    rows = [(a.index, a.prediction, a.radius, a.worst.distance, a.worst.answer, a.outcome) for a in report.images]
    counts = ", ".join(f"{report.count(outcome)} {outcome}" for outcome in OUTCOMES)
    if report.scale > 1:
        verdict = f"at {report.scale:g} times the certified radius nothing is promised"
    else:
        verdict = (
            f"alpha allows {report.allowed} changed: the certificates {'stand' if report.sound else 'are NOT sound'}"
        )
    table = tabulate(rows, head, floatfmt=".4f")
    return [table, f"{len(rows)} images x {report.restarts} attempts: {counts}; {verdict}"]


def _check_same(log: Log, facts: dict[str, Any]) -> None:
    keys = (*CLASSIFIER, *NOISE, *IMAGES)
    there, here = ({key: identity[key] for key in keys if key in identity} for identity in (log.identity, facts))
    if different := differences(there, here):
        raise UserError(
            f"{log.path} is the log of another certification: {listed(different)};"
            " give the config that it was certified with"
        )


def _choose(log: Log, images: int, seed: int) -> tuple[Log, int]:
    """Return the rows to attack, and the number of rows that they represent, abstentions included.

    The rows are drawn at random, because the number of changed images that alpha allows holds only for rows that are
    chosen independently of their content.
    """
    log = log.take(~skipped(log))
    certified = log.take((log.prediction >= 0) & (log.radius > 0))
    if not len(certified):
        raise UserError(f"{log.path} has no row with a class and a radius above 0: there is nothing to attack")
    order = Draw(seed, "call", "attacked rows").host().permutation(len(certified))
    chosen = certified.take(np.sort(order[:images]))
    return chosen, -(-len(log) * len(chosen) // len(certified))


def _plain(report: AttackReport, log: Log, settings: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the content of the report file as plain values."""
    return {
        "identity_hash": (log.header or {})["identity_hash"],
        "settings": {"scale": report.scale, "alpha": report.alpha, **settings},
        "images": [
            {
                "idx": image.index,
                "predict": image.prediction,
                "radius": image.radius,
                "outcome": image.outcome,
                "attempts": [{"distance": a.distance, "answer": a.answer, "lead": a.lead} for a in image.attempts],
            }
            for image in report.images
        ],
        "tried": report.tried,
        **{outcome: report.count(outcome) for outcome in OUTCOMES},
        "allowed": report.allowed,
        "sound": report.sound,
        "context": make_context(device),
    }

import json
import shutil

import numpy as np
import pytest
import torch

from dmaelab.attacks.pgd import PGD
from dmaelab.config import LazyConfig
from dmaelab.engine.attack import report_lines, run_attack
from dmaelab.engine.certification import open_certification
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import UserError

QUICK = [
    "certify.device=cpu",
    "certifier.n=500",
    "certifier.n0=50",
    "certify.batch_size=128",
    'certify.subset={"count": 12}',
]
SHORT = {"attack": PGD(steps=6, restarts=2, samples=16), "n": 500}


@pytest.fixture
def run(classifier_run, tmp_path):
    """Return a copy of the trained run, certified."""
    out = shutil.copytree(classifier_run, tmp_path / "run", ignore=shutil.ignore_patterns("certify"))
    open_certification(out, QUICK).run(progress=False)
    return out


def rewrite(folder, change):
    """Change the cells of every row, given by column."""
    (path,) = folder.glob("shard-*.tsv")
    head, *lines = path.read_text().splitlines()
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
    path.write_text("\n".join([head, *("\t".join((row | change(row)).values()) for row in rows)]) + "\n")


def test_certificates_stand_and_the_report_lies_beside_the_log(run):
    log = read_log(run / "certify/default")
    report, path = run_attack(open_certification(run, QUICK), **SHORT)
    certified = (log.prediction >= 0) & (log.radius > 0)
    assert [image.index for image in report.images] == log.index[certified].tolist()
    assert [image.radius for image in report.images] == log.radius[certified].tolist()
    assert (report.tried, report.restarts, report.alpha) == (12, 2, 0.001)
    assert report.sound
    assert path == run / "certify/default/attack.json"
    content = json.loads(path.read_text())
    assert content["identity_hash"] == log.header["identity_hash"]
    assert content["settings"] == {
        "scale": 1.0,
        "alpha": 0.001,
        "steps": 6,
        "restarts": 2,
        "samples": 16,
        "n": 500,
        "seed": 0,
    }
    assert content["held"] + content["abstained"] + content["changed"] == len(content["images"]) == certified.sum()
    assert (content["allowed"], content["sound"]) == (report.allowed, True)
    assert run_attack(open_certification(run, QUICK), **SHORT)[0].count("held") == content["held"]
    assert len(read_log(run / "certify/default")) == 12  # the report is in nobody's way


def test_images_are_drawn_at_random_from_the_certified_ones(run):
    log = read_log(run / "certify/default")
    certified = log.index[(log.prediction >= 0) & (log.radius > 0)].tolist()
    chosen = [
        [image.index for image in run_attack(open_certification(run, QUICK), images=3, seed=seed, **SHORT)[0].images]
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] == sorted(set(chosen[0]) & set(certified))
    assert chosen[0] != chosen[2]


def test_abstentions_are_not_attacked(run):
    folder = run / "certify/default"
    kept = read_log(folder).index[:3].tolist()
    rewrite(
        folder,
        lambda row: (
            {} if int(row["idx"]) in kept else {"predict": "-1", "radius": "0", "radius_full": "0.0", "correct": "0"}
        ),
    )
    report, _ = run_attack(open_certification(run, QUICK), **SHORT)
    assert {image.index for image in report.images} <= set(kept)
    assert report.tried == 12
    rewrite(folder, lambda row: {"predict": "-1", "radius": "0", "radius_full": "0.0", "correct": "0"})
    with pytest.raises(UserError, match="no row with a class and a radius above 0"):
        run_attack(open_certification(run, QUICK), **SHORT)


def test_radii_that_were_made_up_are_found_out(run):
    folder = run / "certify/default"
    report, _ = run_attack(open_certification(run, QUICK), scale=4, **SHORT)
    assert report.count("changed") > report.allowed
    assert report.sound
    assert report_lines(report)[-1].endswith("at 4 times the certified radius nothing is promised")
    rewrite(folder, lambda row: {"radius_full": repr(4 * float(row["radius_full"]))})
    report, path = run_attack(open_certification(run, QUICK), **SHORT)
    assert not report.sound
    assert not json.loads(path.read_text())["sound"]
    table, summary = report_lines(report)
    assert table.splitlines()[0].split() == ["image", "class", "radius", "distance", "answer", "outcome"]
    assert len(table.splitlines()) == 2 + len(report.images)
    assert f"alpha allows {report.allowed} changed: the certificates are NOT sound" in summary


def test_l1_certificates(run):
    overrides = [*QUICK, "corruption.name=laplace", "certify.name=laplace"]
    open_certification(run, overrides).run(progress=False)
    report, _ = run_attack(open_certification(run, overrides), **SHORT)
    assert report.sound
    for image in report.images:
        assert all(
            np.isclose(attempt.distance, image.radius) or attempt.distance < image.radius for attempt in image.attempts
        )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("corruption.sigma=0.5", "sigma is 0.25 there, 0.5 here"),
        ("corruption.name=uniform", "corruption.name is 'gaussian' there, 'uniform' here"),
        ("certify.precision=bf16", "precision"),
        ("dataset.split=train", "dataset.split"),
    ],
)
def test_the_log_of_another_certification_is_refused(run, override, words):
    with pytest.raises(UserError, match="is the log of another certification") as caught:
        run_attack(open_certification(run, [*QUICK, override]), **SHORT)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (run / "certify/default/attack.json").exists()


def test_other_weights_are_refused_and_another_way_to_certify_is_not(run):
    other = [
        "certifier.n=700",
        "certifier.alpha=0.01",
        "certify.seed=3",
        "certify.batch_size=64",
        'certify.subset={"count": 7}',
    ]
    report, _ = run_attack(open_certification(run, [*QUICK, *other]), images=2, **SHORT)
    assert report.alpha == 0.001  # that of the log
    header = run / "certify/default/header.json"
    content = json.loads(header.read_text())
    content["identity"]["weights"] = "0" * 32
    header.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"weights is '{'0' * 32}' there"):
        run_attack(open_certification(run, QUICK), **SHORT)


def test_what_cannot_be_attacked_is_one_line(run):
    with pytest.raises(UserError, match=r"certify/other holds no certification log: run tools/certify\.py first"):
        run_attack(open_certification(run, [*QUICK, "certify.name=other"]))
    with pytest.raises(UserError, match="the number of images is 0"):
        run_attack(open_certification(run, QUICK), images=0)
    predict = [
        "certifier.name=predict",
        "certifier.n=100",
        "certify.name=predict",
        "certify.device=cpu",
    ]
    open_certification(run, [*predict, 'certify.subset={"count": 5}']).run(progress=False)
    with pytest.raises(UserError, match="nothing to attack"):
        run_attack(open_certification(run, predict))


def test_a_classifier_without_a_run(run, tmp_path):
    cfg = open_certification(run, QUICK).cfg
    cfg.classifier = LazyConfig.load(run / "config.yaml").model.classifier
    cfg.certify.run, cfg.certify.out_dir = None, str(tmp_path / "mine")
    LazyConfig.save(cfg, tmp_path / "mine.yaml")
    certification = open_certification(tmp_path / "mine.yaml")
    torch.manual_seed(0)  # its weights are those of the initialisation
    certification.run(progress=False)
    torch.manual_seed(0)
    _, path = run_attack(certification, images=2, **SHORT)
    assert path == tmp_path / "mine/certify/default/attack.json"

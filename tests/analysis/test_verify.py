import json

import pytest
import torch
from torch import nn

from dmaelab.analysis.verify import verify_log
from dmaelab.corruptions import build_corruption
from dmaelab.records.merge import identity_hash
from dmaelab.records.readers import read_log
from dmaelab.smoothing import Cohen, Predict, Sequential, Smoothing, certify_images
from dmaelab.utils.errors import UserError

CERTIFIERS = {
    "cohen": Cohen(20, 300, 0.001),
    "skipping": Cohen(20, 300, 0.001, skip_wrong=True),
    "grid": Sequential(20, 2000, 0.001, radii=[0.0, 0.1, 0.2]),
    "target": Sequential(20, 2000, 0.001, mode="target", radii=[0.1]),
    "radius": Sequential(20, 300, 0.001, mode="radius"),
    "predict": Predict(300, 0.001),
}


class Brightness(nn.Module):
    """Three classes by the value of one pixel."""

    def forward(self, images):
        pixel = images[:, 0, 0, 0]
        return torch.stack([0.4 - pixel, torch.full_like(pixel, 0.02), pixel - 0.6], dim=1)


def image(index):
    return torch.full((1, 4, 4), (index % 8) * 36 / 255), index % 3


@pytest.fixture
def certify(tmp_path):
    def run(certifier, corruption="gaussian"):
        noise = build_corruption(corruption, sigma=0.25)
        certify_images(
            Smoothing(Brightness(), noise, 3),
            image,
            range(12),
            certifier,
            out=tmp_path / "log",
            batch_size=256,
            progress=False,
        )
        return tmp_path / "log"

    return run


def change(folder, index, **values):
    """Replace cells of one row."""
    path = folder / "shard-000-of-001.tsv"
    header, *lines = path.read_text().splitlines()
    columns = header.split("\t")
    for place, line in enumerate(lines):
        cells = line.split("\t")
        if cells[0] == str(index):
            for name, value in values.items():
                cells[columns.index(name)] = str(value)
            lines[place] = "\t".join(cells)
    path.write_text("\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize("name", CERTIFIERS)
@pytest.mark.parametrize("noise", ["gaussian", "quantised_gaussian", "uniform", "laplace"])
def test_every_log_that_is_written_follows_from_its_counts(certify, name, noise):
    assert verify_log(certify(CERTIFIERS[name], noise)) == (12, [])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"radius": "0.900000"}, "radius is too large"),
        ({"radius_full": "0.9"}, "radius_full is too large"),
        ({"p_lower": "0.9999"}, "p_lower is too large"),
        ({"p_upper": "0.0001"}, "p_upper is too large"),
        ({"radius_two_sided": "1.5"}, "radius_two_sided is too large"),
        ({"predict": 2, "label": 2, "correct": 1}, "predicts 2, but selected 0"),
        ({"predict": -1, "correct": 0}, "abstains with the radius"),
        ({"label": 1}, "correct is 1"),
        ({"look_a": "300/301"}, "contradict"),
        ({"count_a": 200}, "contradict"),
        ({"n": 3000, "samples": 3020, "count_a": 3000, "look_a": "3000/3000"}, "contradict"),
        ({"look_b": "nan"}, "is damaged"),
        ({"p_lower": "abc"}, "is damaged"),
        ({"look_a": "100/290"}, "contradict"),  # the last ten samples cannot have brought the rest
        (
            {"count_a": 245, "look_a": "245/300", "count_b": 0, "look_b": "0/300"},
            "contradict",
        ),  # 55 votes that nobody got
        ({"samples": 321}, "contradict"),
    ],
)
def test_claims_that_are_too_large_are_found(certify, values, words):
    folder = certify(CERTIFIERS["cohen"])
    change(folder, 0, **values)
    rows, problems = verify_log(folder)
    assert rows == 12
    assert any(words in problem for problem in problems), problems
    assert all(problem.startswith("image 0: ") for problem in problems)


def test_an_early_look_does_not_get_the_bound_of_the_last_one(certify):
    """The counts of a stopped row taken as if n had been fixed there."""
    folder = certify(CERTIFIERS["target"])
    identity = json.loads((folder / "header.json").read_text())["identity"]
    assert identity["certifier"]["share"] == 0.1
    fixed = Cohen(20, 100, 0.001)._looks
    change(folder, 0, p_lower=fixed.lower(100, 100))
    assert any("p_lower is too large" in problem for problem in verify_log(folder)[1])


def test_a_claim_below_what_the_counts_allow_is_fine(certify):
    folder = certify(CERTIFIERS["cohen"])
    change(folder, 0, radius="0.000001", radius_full="0.000001", radius_two_sided="0.0", p_lower="0.5", p_upper="1.0")
    assert verify_log(folder) == (12, [])


def test_a_skipped_row_claims_nothing(certify):
    folder = certify(CERTIFIERS["skipping"])
    for claim in (
        {"radius": "0.100000", "radius_full": "0.1"},
        {"radius": "0.000000", "radius_full": "0.0", "radius_two_sided": "7.0"},
    ):
        change(folder, 1, **claim)
        assert verify_log(folder)[1] == [
            "image 1: was skipped for its class, but claims something or should not have been"
        ]


def test_only_a_certifier_that_skips_may_skip(certify):
    folder = certify(CERTIFIERS["cohen"])
    nothing = {
        "radius": "0.000000",
        "radius_full": "0.0",
        "radius_two_sided": "nan",
        "p_lower": "nan",
        "p_upper": "nan",
    }
    change(folder, 1, stop_reason="wrong_class", predict=0, correct=0, **nothing)
    assert "should not have been" in verify_log(folder)[1][0]


def test_an_answer_of_predict_needs_its_p_value(certify):
    folder = certify(CERTIFIERS["predict"])
    change(folder, 0, count_a=160, count_b=140)
    assert "answers with the p-value" in verify_log(folder)[1][0]
    for claim in ({"radius": "9.000000", "count_a": 300, "count_b": 0}, {"radius": "0.000000", "count_a": 3000}):
        change(folder, 0, **claim)
        assert verify_log(folder)[1] == ["image 0: claims a radius, or its counts contradict the header"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"indices": "0:6"}, "list of images in header.json is not that of its identity"),
        ({"indices": ""}, "list of images in header.json is not that of its identity"),
        ({"identity_hash": "0" * 16}, "does not have the hash beside it"),
        ({"identity": {"norm": "linf"}}, "says norm linf, but its geometry certifies l2"),
        ({"identity": {"geometry": None}}, "cannot be imported"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(certify, values, words):
    folder = certify(CERTIFIERS["cohen"])
    header = json.loads((folder / "header.json").read_text())
    if "identity" in values:
        header["identity"] |= values["identity"]
        header["identity_hash"] = identity_hash(header["identity"])
    else:
        header |= values
    (folder / "header.json").write_text(json.dumps(header))
    with pytest.raises(UserError, match=words):
        verify_log(folder)


def test_a_header_cannot_talk_tau_away(certify):
    folder = certify(Cohen(20, 300, 0.001), "quantised_gaussian")
    header = json.loads((folder / "header.json").read_text())
    header["identity"]["tau"] = 0.0
    header["identity_hash"] = identity_hash(header["identity"])
    (folder / "header.json").write_text(json.dumps(header))
    row = read_log(folder)
    change(folder, 0, radius_full=repr(float(row.radius[0]) + 1e-5))
    assert "radius_full is too large" in verify_log(folder)[1][0]


def test_missing_and_foreign_rows_are_refused(certify):
    folder = certify(CERTIFIERS["cohen"])
    path = folder / "shard-000-of-001.tsv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]))
    with pytest.raises(UserError, match="2 of 12 images have no row: 10, 11"):
        verify_log(folder)
    path.write_text("".join([*lines, lines[-1].replace("11\t", "99\t", 1)]))
    with pytest.raises(UserError, match="1 rows are of images outside the certification: 99"):
        verify_log(folder)


def test_bounds_of_a_plug_in_are_not_guessed(certify):
    mine = type("Mine", (Cohen,), {})(20, 300, 0.001)
    with pytest.raises(UserError, match=r"the bounds of certifier '.*Mine' are not known here"):
        verify_log(certify(mine))

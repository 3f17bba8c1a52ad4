"""Sample some rows of a certification log again: a log alone cannot show that its counts are true."""

import secrets
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmaelab.certifiers import ABSTAIN, Case, Certificate, Certifier, Votes
from dmaelab.certifiers.identity import certifier_of
from dmaelab.certifiers.report import Finding
from dmaelab.config import instantiate
from dmaelab.corruptions import CORRUPTIONS
from dmaelab.data import Dataset
from dmaelab.engine.certification import Certification, images_of, open_certification
from dmaelab.engine.log_data import compare_with_data
from dmaelab.records.folders import read_folders, read_header
from dmaelab.records.merge import Table
from dmaelab.records.row import parse_row
from dmaelab.smoothing import Smoothing, certify_images
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.identity import make_context, make_identity
from dmaelab.stats.resampling import LEVEL, allowed_failures, claim_fails, least_rows
from dmaelab.utils.differences import Difference, differences, listed
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import UserError

# Keys of the identity that another type of device may change. They change noise and rounding, not what is certified.
_OF_THE_DEVICE = ("noise", "attention", "channels_last", "compile", "cuda_graph")


class Hits(Certifier):
    """Counts the votes for the label of an image among n samples of a stream that no certificate uses.

    Args:
        n: number of samples.
    """

    columns = ("n", "count_a")

    def __init__(self, n: int) -> None:
        super().__init__(n, alpha=0.5)

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Return the votes for ``case.label`` as ``count_a``."""
        counts = yield Votes("resample", self.n)
        assert case.label is not None  # the class that a row claims
        return Certificate(prediction=ABSTAIN, top=case.label, n=self.n, count_a=int(counts[case.label]))


def resample(folder: Path, source: str | Path, overrides: Sequence[str], rows: int, seed: int | None = None) -> Finding:
    """Draw rows of a log at random, and sample them again with a classifier that the user names.

    The classifier and the data set come from the user; certifier, noise, seed, batch size and precision from the
    header. Where the log was written by the same software on the same processor, the rows are replayed: if all cells
    but the time come out equal, nothing else is needed. A replay of some rows moves samples to other places in their
    batches. This can change the last bits of logits and so the class of a near tie, so other cells do not make a log
    wrong. Then, and elsewhere, the noise is fresh, and :mod:`dmaelab.stats.resampling` tests the claims ``p_lower`` of
    the rows that answer. A classifier with random numbers of its own cannot be replayed.

    Args:
        folder: folder of a log that :func:`~dmaelab.certifiers.verification.verify_log` accepts.
        source: run directory or certification config, as for
            :func:`~dmaelab.engine.certification.open_certification`.
        overrides: ``key=value`` texts, such as ``dataset.split=test``.
        rows: number of rows to draw; all if there are fewer.
        seed: seed of the draw and of the fresh noise; None takes a random one.

    Returns:
        A line for each label that is not that of the data set, or for each failing row, if more rows fail than sound
        certificates allow.

    Raises:
        UserError: the classifier, the noise or the data is not that of the log (the message names the keys), or nothing
            can be decided: a replay is not possible or gives other cells, and the rows claim no probability or are too
            few.
    """
    if rows < 1:
        raise UserError(f"the number of rows is {rows}: sample at least 1")
    header, table = read_header(folder), read_folders([folder])
    identity = header["identity"]
    certification = open_certification(source, [f"corruption.sigma={identity['sigma']!r}", *overrides])
    device, dataset = pick_device(certification.settings.device), instantiate(certification.cfg.dataset)
    compared = compare_with_data(folder, dataset)
    if compared.problems:
        return compared
    smoothing = _smoothing(identity, certification, dataset, device)
    other = _check_same(identity, certification, smoothing, dataset, sorted(table.rows))
    other += _other_context(header["context"], device)
    seed = secrets.randbits(32) if seed is None else seed
    drawn = np.random.default_rng(seed).permutation(sorted(table.rows))[:rows].tolist()
    if smoothing.own_randomness:
        why = "not a replay, the classifier draws random numbers of its own"
    elif other:
        why = f"not a replay, {listed(other, 'in the log', 'here')}"
    else:
        why = _replay(table, drawn, certifier_of(identity), smoothing, dataset)
        if not why:
            return Finding([], f"a replay of {len(drawn)} of {len(table.rows)} rows (seed {seed}) gives the same cells")
    if "p_lower" not in table.columns:
        raise UserError(f"{folder} claims no probabilities, so only an equal replay can confirm its rows: {why}")
    smoothing.seed = seed
    return _test(table, drawn, identity, smoothing, dataset, f"seed {seed}; {why}")


def _smoothing(
    identity: Mapping[str, Any], certification: Certification, dataset: Dataset, device: torch.device
) -> Smoothing:
    """Return the classifier of the user with the noise and the arithmetic of a log."""
    name, options = identity["corruption"]["name"], dict(identity["corruption"])
    del options["name"]
    try:
        corruption = CORRUPTIONS.build(name, sigma=identity["sigma"], **options)
    except TypeError as error:
        raise UserError(f"the noise {name!r} cannot be built from the options in the header: {error}") from error
    graph = identity.get("cuda_graph", False) and device.type == "cuda"
    arithmetic = Arithmetic(identity["precision"], identity["channels_last"], identity["compile"], graph)
    return Smoothing(
        certification.subject.load(device),
        corruption,
        dataset.num_classes,
        seed=identity["seed"],
        arithmetic=arithmetic,
        batch_size=identity["batch_shape"][0],
        on_invalid="count",
        own_randomness=bool(identity.get("own_randomness", False)),
    )


def _check_same(
    identity: Mapping[str, Any],
    certification: Certification,
    smoothing: Smoothing,
    dataset: Dataset,
    indices: list[int],
) -> list[Difference]:
    """Return what another type of device changes in the identity; ``UserError`` if anything else differs.

    Keys that only one of the two has are not compared: the header may have keys of the user's, or come from
    ``certify_images``, which does not know the config of the model.
    """
    first = images_of(dataset)(min(indices))
    facts = make_identity(smoothing, certifier_of(identity), indices=indices, first=first)
    facts |= certification.identity(smoothing.device)
    keys = (identity.keys() & facts.keys()) - {"plugins"}
    found = differences({key: identity[key] for key in keys}, {key: facts[key] for key in keys})
    if different := [one for one in found if one.key not in _OF_THE_DEVICE]:
        raise UserError(f"the log is of another certification: {listed(different, 'in the log', 'here')}")
    return found


def _other_context(context: Mapping[str, Any], device: torch.device) -> list[Difference]:
    """Return the differences in what can change the last bits of logits: code, versions, processor, device, threads.

    Equal names of code need not mean equal code (an installed package has none). Nothing depends on this, because only
    an equal replay is taken as a result.
    """

    def facts(context: Mapping[str, Any]) -> dict[str, Any]:
        names = ("code", "cpu", "device", "threads") if device.type == "cpu" else ("code", "device")
        return {"versions": context.get("versions") or {}, **{name: context.get(name) for name in names}}

    here = make_context(device) | {"threads": torch.get_num_threads()}
    return differences(facts(context), facts(here))


def _replay(table: Table, drawn: list[int], certifier: Certifier, smoothing: Smoothing, dataset: Dataset) -> str:
    """Certify the drawn images again with the same noise, and describe what differs; "" if all cells are equal.

    Of the rows with other cells, the one whose share of votes for the selected class differs most is described.
    """
    with tempfile.TemporaryDirectory() as folder:
        certify_images(smoothing, images_of(dataset), drawn, certifier, out=folder)
        again = read_folders([folder]).rows

    def others(index: int) -> list[str]:
        pairs = zip(table.columns, table.rows[index], again[index], strict=True)
        return [f"{name} is {said}, not {found}" for name, said, found in pairs if said != found and name != "time"]

    def gap(index: int) -> float:
        shares = [_share(parse_row(table.columns, rows[index])) for rows in (table.rows, again)]
        return abs(shares[0] - shares[1])

    changed = [index for index in sorted(drawn) if others(index)]
    if not changed:
        return ""
    most = max(changed, key=gap)
    return (
        f"in a replay {len(changed)} of {len(drawn)} rows have other cells, which can be rounding of near ties; most"
        f" differs image {most}: {', '.join(others(most))}"
    )


def _share(row: Mapping[str, Any]) -> float:
    """Return the share of the votes for the selected class in a row, 0 if the row does not say it."""
    count, n = row.get("count_a", 0), row.get("n", 0)
    return count / n if n > 0 and count >= 0 else 0.0


def _test(
    table: Table, drawn: list[int], identity: Mapping[str, Any], smoothing: Smoothing, dataset: Dataset, how: str
) -> Finding:
    """Test the claims of the drawn rows with fresh noise; ``UserError`` if so few can show nothing."""
    rows = {index: parse_row(table.columns, table.rows[index]) for index in drawn}
    claims = {index: row for index, row in rows.items() if row["predict"] != ABSTAIN and row["p_lower"] > 0}
    load, n, alpha = images_of(dataset), identity["n"], identity["alpha"]
    if len(claims) <= (allowed := allowed_failures(len(drawn), alpha)):
        raise UserError(
            f"{len(claims)} of {len(drawn)} drawn rows claim a probability, which can show nothing: sound certificates"
            f" exceed {allowed} failing rows with probability {LEVEL:g} at most; draw more rows, at least"
            f" {least_rows(alpha)} ({how})"
        )

    def relabelled(index: int) -> tuple[Tensor, int]:
        return load(index)[0], claims[index]["predict"]

    with tempfile.TemporaryDirectory() as folder:
        counted = certify_images(smoothing, relabelled, sorted(claims), Hits(n), out=folder)
    hits = {row["idx"]: row["count_a"] for row in counted}
    failing = [
        f"image {index}: p_lower is {claims[index]['p_lower']:.6g}, but {count} of {n} fresh samples are of its class"
        for index, count in hits.items()
        if claim_fails(count, n, claims[index]["p_lower"], len(drawn))
    ]
    verdict = (
        f"{len(claims)} of {len(drawn)} drawn rows claim a probability, {len(failing)} of these fail with fresh noise;"
        f" sound certificates exceed {allowed} with probability {LEVEL:g} at most ({how})"
    )
    if len(failing) > allowed:
        return Finding(failing, verdict)
    return Finding([], "; ".join([verdict, *failing]))

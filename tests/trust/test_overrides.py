"""An override calls nothing that it may not call, and imports nothing that is not trusted."""

import sys
import textwrap

import pytest
from refusals import refused

from dmaelab.config import LazyCall as L
from dmaelab.config import LazyConfig, instantiate, open_config
from dmaelab.config.trust import trusted_modules
from dmaelab.engine.training import SECTIONS
from dmaelab.utils.errors import ConfigError

# Targets with arguments that would leave the marker (for shutil.rmtree: remove a folder).
CALLS = {
    "os.system": "'command': 'touch {marker}'",
    "subprocess.Popen": "'args': ['touch', '{marker}']",
    "subprocess.run": "'args': ['touch', '{marker}']",
    "dmaelab.utils.files.write_text": "'path': '{marker}', 'text': ''",
    "torch.save": "'obj': 1, 'f': '{marker}'",
    "torch.os.system": "'command': 'touch {marker}'",
    "numpy.os.system": "'command': 'touch {marker}'",
    "dmaelab.config.imports.os.system": "'command': 'touch {marker}'",
    "dmaelab.config.lazy.os.system": "'command': 'touch {marker}'",
    "pathlib.os.mkdir": "'path': '{marker}'",
    "evil.Thing": "",
    "evil.make": "",
}
# Where an override of digits/pretrain can put a node.
NODES = [
    "train.milestones={{'a': {node}}}",
    "train.milestones={{'a': {{'b': [{node}]}}}}",
    "train.milestones={node}",
    "train.epochs={node}",
    "train.micro_batch={node}",
    "train.device={node}",
    "train={node}",
    "+train.new={node}",
    "labels.method={node}",
    "+labels.new=[{node}]",
    "labels={node}",
    "+debug=[{node}]",
    "data={node}",
    "data.train={node}",
    "data.augment=[{node}]",
    "data.train.split={node}",
    "model={node}",
    "model.loss={node}",
    "model.encoder.width={node}",
    "model.corruption.sigma=[{node}, 0.5]",
    "+model.encoder.new={node}",
    "optimizer.lr={node}",
    "optimizer.betas=[{node}, 0.5]",
    "schedule={node}",
    "+hooks=[{node}]",
    "trainer={node}",
    "plugins=[{node}]",
    "+new={node}",
]
PARTS = ["model._target_={target}", "model.loss._target_='{target}'", "+train._target_={target}",
         "+data._target_={target}", "+labels._target_={target}", "trainer={target}", "+trainer={target}"]  # fmt: skip


def text(place, target, marker, extra=""):
    node = f"{{'_target_': '{target}', {extra}{CALLS[target].format(marker=marker)}}}"
    return place.format(node=node, target=target)


@pytest.mark.parametrize("dry", [["--dry-run"], []], ids=["dry", "real"])
@pytest.mark.parametrize("place", NODES)
def test_a_node_in_any_place(tool, own_folder, module, marker, place, dry):
    module(own_folder)
    override = text(place, "os.system", marker)
    refused(tool("train_net.py", "--config-file", "digits/pretrain", "train.device=cpu", override, *dry), marker)


@pytest.mark.parametrize("target", CALLS)
@pytest.mark.parametrize("extra", ["", "'_partial_': True, "], ids=["call", "partial"])
def test_any_target(tool, own_folder, module, marker, target, extra):
    module(own_folder)
    for place in ("model.loss={node}", "train.milestones={{'a': {node}}}"):
        override = text(place, target, marker, extra)
        refused(tool("train_net.py", "--config-file", "digits/pretrain", override, "--dry-run"), marker)


@pytest.mark.parametrize("target", ["os.system", "evil.Thing"])
@pytest.mark.parametrize("place", PARTS)
def test_a_target_alone(tool, own_folder, module, marker, place, target):
    module(own_folder)
    override = text(place, target, marker)
    refused(tool("train_net.py", "--config-file", "digits/pretrain", override, "--dry-run"), marker)


@pytest.mark.parametrize(
    "overrides",
    [
        ["+x=os.system", "model.loss={'_target_': '${x}', 'command': 'touch MARKER'}"],
        ["+x=os.system", "model.loss._target_='${x}'"],
        ["train.out_dir=os.system", "+model.loss.new={'_target_': '${train.out_dir}', 'command': 'touch MARKER'}"],
        ["train.milestones='${oc.create:{_target_:os.system,command:touch MARKER}}'"],
        ["model.loss='${oc.create:{_target_:os.system,command:touch MARKER}}'"],
        ["+model.loss.new='${oc.decode:\"{_target_:os.system,command:touch MARKER}\"}'"],
        ["+hooks='${oc.create:[{_target_:os.system,command:touch MARKER}]}'"],
    ],
)
@pytest.mark.parametrize("dry", [["--dry-run"], []], ids=["dry", "real"])
def test_interpolations(tool, own_folder, marker, overrides, dry):
    overrides = [override.replace("MARKER", str(marker)) for override in overrides]
    settings = [f"train.out_dir={own_folder / 'run'}", "train.device=cpu", "train.max_iter=1"]
    refused(tool("train_net.py", "--config-file", "digits/pretrain", *settings, *overrides, *dry), marker)


@pytest.mark.parametrize("name", ["certifier.n0", "certifier.n", "certify.labels", "certify.subset", "certify.name",
                                  "corruption.sigma", "certifier", "corruption", "dataset", "+classifier"])  # fmt: skip
def test_certifications(tool, own_folder, foreign, marker, name):
    run = foreign()
    node = text("{node}", "os.system", marker)
    for dry in (["--dry-run"], []):
        refused(tool("certify.py", run, f"{name}={node}", *dry), marker)
    refused(tool("attack.py", run, f"{name}={node}"), marker)


@pytest.mark.parametrize("name", ["pipeline.radii", "pipeline.note", "pipeline.weights.pretrain", "pipeline.processes",
                                  "stages", "stages.0", "stages.0.name", "stages.0.overrides.0", "+new"])  # fmt: skip
def test_pipelines(tool, own_folder, marker, name):
    node = text("{node}", "os.system", marker)
    for value in (node, f"[{node}]"):
        for dry in (["--dry-run"], []):
            refused(tool("pipeline.py", "--config-file", "pipelines/digits", f"{name}={value}", *dry), marker)


def test_an_override_of_a_stage_is_an_override(tool, own_folder, marker):
    stage = f'stages.0.overrides=["model.loss={text("{node}", "os.system", marker)}"]'
    refused(tool("pipeline.py", "--config-file", "pipelines/digits", stage, "--dry-run"), marker)


@pytest.mark.parametrize("order", [1, -1], ids=["before", "after"])
@pytest.mark.parametrize(
    "named",
    ["plugins=['PLUGIN']", "+plugins=['PLUGIN']", 'plugins=["PLUGIN"]', " plugins = ['PLUGIN']"],
)
def test_a_plug_in_of_the_user_is_trusted_wherever_it_stands(tool, own_folder, module, marker, named, order, request):
    name = f"trusted_{abs(hash(request.node.name))}"
    module(own_folder, name)
    override = f"model.encoder={{'_target_': '{name}.make'}}"
    _, error = tool("train_net.py", "--config-file", "digits/pretrain", override, "--dry-run")
    assert not marker.exists()
    assert f"add plugins=['{name}']" in error
    overrides = [named.replace("PLUGIN", name), override][::order]
    assert tool("train_net.py", "--config-file", "digits/pretrain", *overrides, "--dry-run") == (0, "")
    assert marker.exists()
    assert name in trusted_modules()


def test_plug_ins_of_the_environment_are_trusted(own_folder, module, monkeypatch):
    module(own_folder, "surrounding_one")
    module(own_folder, "surrounding_two")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("DMAELAB_PLUGINS", "surrounding_one, surrounding_two,")
    cfg = open_config("digits/pretrain", ["model.encoder={'_target_': 'surrounding_two.make'}"], SECTIONS)
    assert "plugins" not in cfg
    assert type(instantiate(cfg.model.encoder)).__name__ == "Thing"
    monkeypatch.setenv("DMAELAB_PLUGINS", "surrounding_three")
    with pytest.raises(ConfigError, match=r"plugins: surrounding_three: no module named 'surrounding_three'"):
        open_config("digits/pretrain")


@pytest.mark.parametrize(
    "override",
    [
        "optimizer._target_=dmaelab.solver.build_lars",
        "model.encoder={'_target_': 'torch.nn.Linear', 'in_features': 2, 'out_features': 2}",
        "optimizer.lr={'_target_': 'dmaelab.solver.scaled_lr', 'base_lr': 1e-3, 'batch_size': 64}",
        "data.augment=[{'_target_': 'dmaelab.data.transforms.HorizontalFlip'}]",
        "data.train={'_target_': 'dmaelab.data.build.build_dataset', 'name': 'generated', 'image_size': 8}",
        "model.loss={'_target_': 'torch.nn.Sequential', '_partial_': True}",
        "+trainer=dmaelab.engine.DefaultTrainer",
        "train.out_dir='${oc.env:HOME}/runs'",
    ],
)
def test_what_has_a_role_may_be_named(override):
    open_config("digits/pretrain", [override], SECTIONS)


def test_an_argument_that_is_a_number_takes_only_functions_that_return_one():
    node = {"_target_": "torch.nn.Identity"}
    for key, message in (("optimizer.lr", "expects float"), ("model.encoder.width", "expects int")):
        with pytest.raises(ConfigError, match=message):
            open_config("digits/pretrain", [f"{key}={node}"], SECTIONS)
    scaled = "{'_target_': 'dmaelab.solver.scaled_lr', 'base_lr': 1.0, 'batch_size': 64}"
    with pytest.raises(ConfigError, match="expects int"):
        open_config("digits/pretrain", [f"model.encoder.width={scaled}"], SECTIONS)


def test_python_code_may_call_anything(own_folder, tmp_path, monkeypatch):
    """What the user's own Python config calls, an override may keep."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (own_folder / "code_of_mine.py").write_text("def make(width): return width + 1\n")
    (own_folder / "mine.py").write_text(
        "from code_of_mine import make\nfrom dmaelab.config import LazyCall as L\n"
        "model = L(make)(width=1)\nother = {'_target_': 'code_of_mine.make', 'width': 2}\n"
    )
    cfg = open_config("mine.py", ["model.width=5"])
    assert (instantiate(cfg.model), instantiate(cfg.other)) == (6, 3)
    assert instantiate(L(textwrap.dedent)(text="  a")) == "a"
    with pytest.raises(ConfigError, match=r"the function 'torch\.add' may be called by a Python config only"):
        LazyConfig.apply_overrides(cfg, ["model._target_=torch.add"])

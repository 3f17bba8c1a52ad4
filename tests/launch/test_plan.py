"""Where the stages of a pipeline write, and the configs that they run with."""


def test_weights_stand_in_for_a_stage(digits, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    plan = digits(tmp_path / "out", f"pipeline.weights={{'pretrain': '{tmp_path / 'elsewhere'}'}}").plan
    assert plan.run_of("pretrain") == tmp_path / "elsewhere"
    assert plan.training_config(plan.stages[1]).train.init_from == str(tmp_path / "elsewhere")


def test_a_milestone_is_a_checkpoint_of_its_stage(digits, tmp_path):
    milestones = "+stages.0.overrides=[\"train.milestones={'early': 5}\"]"
    plan = digits(tmp_path, "stages.1.init_from=pretrain:early", milestones).plan
    early = tmp_path / "pretrain/checkpoints/early.pth"
    assert plan.training_config(plan.stages[1]).train.init_from == str(early)


def test_stages_and_their_folders(chain, tmp_path):
    plan = chain(tmp_path).plan
    assert (plan.trainings(), plan.certifications()) == (["pretrain", "rs"], ["certify_rs"])
    log = tmp_path / "rs/certify/certify_rs"
    assert [plan.folder_of(stage) for stage in plan.stages] == [tmp_path / "pretrain", tmp_path / "rs", log]
    assert [folder for _, folder in plan.logs()] == [log]

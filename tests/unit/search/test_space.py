"""Spaces: what they accept, what a point of one means, what is refused in one line."""

from pathlib import Path

import pytest

from noise2map_core.cli.application import build_config
from noise2map_core.diffusion.schedule import schedule_alpha_bars
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.search.space import SearchSpace, read_space, require_valid
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig, TrialSettings

BASE = TrialSettings()


def space_of(tmp_path: Path, text: str) -> SearchSpace:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    space = read_space(str(path))
    require_valid(space, BASE, str(path))
    return space


def test_what_trials_share_is_what_finetune_maps_takes() -> None:
    for name, field in TrialSettings.model_fields.items():
        own = FinetuneMapsConfig.model_fields[name]
        assert (field.annotation, field.get_default(call_default_factory=True)) == (
            own.annotation, own.get_default(call_default_factory=True)
        )  # fmt: skip


@pytest.mark.parametrize("name", ["quick", "full", "ablation_schedules"])
def test_every_end_of_a_space_that_ships_is_a_setting_of_finetune_maps(name: str) -> None:
    space = read_space(name)
    require_valid(space, BASE, name)
    for _, point in space.examples():
        settings = space.settings(BASE, point).model_dump(mode="json")
        build_config(FinetuneMapsConfig, {"chips": "a", "output": "b", **settings}, {})


def test_the_ablation_is_schedules_times_timesteps() -> None:
    space = read_space("ablation_schedules")
    points = space.grid()
    assert len(points) == space.num_trials == 25
    assert len({tuple(point.values()) for point in points}) == 25
    seen = {
        (change.schedule.kind, change.inference_timesteps)
        for change in (space.settings(BASE, point).change.diffusion for point in points)
    }
    schedules = {"linear", "scaled_linear", "sigmoid", "squared_cosine", "cosine"}
    assert seen == {(s, (t,)) for s in schedules for t in (0, 250, 500, 749, 999)}


def test_a_parameter_below_a_choice_changes_only_its_part(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """
        parameters:
          change.diffusion.schedule:
            choices: {linear: {kind: linear}, cosine: {kind: cosine}}
          change.diffusion.schedule.beta_end:
            log_uniform: [1e-3, 5e-2]
            when: {change.diffusion.schedule: linear}
        """,
    )
    key = "change.diffusion.schedule"
    schedule = space.settings(BASE, {key: "linear", f"{key}.beta_end": 0.01}).change.diffusion
    assert schedule.schedule.model_dump() == {
        "kind": "linear", "num_timesteps": 1000, "zero_terminal_snr": False,
        "beta_start": 1e-4, "beta_end": 0.01,
    }  # fmt: skip
    assert [point for _, point in space.examples()] == [
        {key: "linear", f"{key}.beta_end": 1e-3},
        {key: "cosine"},
        {key: "linear", f"{key}.beta_end": 1e-3},
        {key: "linear", f"{key}.beta_end": 5e-2},
    ]


def test_a_number_of_timesteps_leaves_out_those_at_which_dates_look_alike(tmp_path: Path) -> None:
    space = space_of(tmp_path, "parameters: {change.timestep_count: {choices: [1, 4]}}")
    assert space.settings(BASE, {"change.timestep_count": "1"}).change.diffusion == (
        BASE.change.diffusion.model_copy(update={"inference_timesteps": (999,)})
    )
    four = space.settings(BASE, {"change.timestep_count": "4"}).change.diffusion
    assert four.inference_timesteps is not None and len(set(four.inference_timesteps)) == 4
    bars = schedule_alpha_bars(four.schedule)[list(four.inference_timesteps)]
    assert ((bars.sqrt() - (1 - bars).sqrt()).abs() >= four.min_gain).all()
    assert four.inference_timesteps[0] == 0 and four.inference_timesteps[-1] == 999


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parameters: {}", "parameters"),
        ("trails: 3\nparameters: {training.learning_rate: {uniform: [1, 2]}}", "trials?"),
        (
            "parameters: {change.diffusion.scheduel: {choices: [linear]}}",
            "change.diffusion.scheduel",
        ),
        ("parameters: {training.learning_rate: {unifrom: [1e-3, 1e-2]}}", "learning_rate.unifrom"),
        ("parameters: {training.learning_rate: {uniform: [1e-2, 1e-3]}}", "does not rise"),
        ("parameters: {training.learning_rate: {uniform: [-1.0, 1e-3]}}", "learning_rate = -1.0"),
        ("parameters: {training.learning_rate: {}}", "give one of choices"),
        ("parameters: {model.preset: {choices: [tiny, huge]}}", "model.preset = huge"),
        ("parameters: {segment.loss.dice: {choices: [0, 1]}}", "not learnt"),
        ("parameters: {change.timestep_share: {uniform: [0, 2]}}", "from 0 to 1"),
        ("sampler: grid\nparameters: {training.learning_rate: {uniform: [1, 2]}}", "a grid needs"),
        (
            "parameters: {change.loss.dice: {choices: [0, 1], when: {model.preset: tiny}}}",
            "no choice above",
        ),
        ("parameters: [1]", "parameters"),
        ("- 1", "holds no settings"),
        ("parameters: !!python/object:os.system {}", "not readable YAML"),
    ],
)
def test_a_space_that_cannot_be_used_is_refused_in_a_line_that_names_the_key(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        space_of(tmp_path, text)
    message = str(refused.value)
    assert told in message and "own.yaml" in message and "\n" not in message


def test_a_space_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="known: ablation_schedules, full, quick"):
        read_space("fulll")

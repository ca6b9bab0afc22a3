"""The command line of an application."""

import errno
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Discriminator, Field, PositiveFloat, PositiveInt

from noise2map_core.cli.application import application, parse_config
from noise2map_core.cli.shown import metavar
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import (
    CatalogError,
    ConfigError,
    IncompleteRegionError,
    Noise2MapError,
    OutputHeldError,
)
from noise2map_core.runtime.storage import LocalPath, Location
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.settings.grid import GridConfig
from noise2map_core.settings.reading import parse_yaml
from noise2map_core.training.run import learnt_settings
from noise2map_core.workflows.evaluate_maps import EvaluateMapsConfig
from noise2map_core.workflows.finetune_maps import FinetuneMapsConfig
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.ingest_region import IngestRegionConfig
from noise2map_core.workflows.launch import find_applications, find_tools
from noise2map_core.workflows.run_nightly import NightlyConfig
from noise2map_core.workflows.search_schedules import SearchSchedulesConfig
from noise2map_core.workflows.tools.draw_worlds import DrawWorldsConfig
from noise2map_core.workflows.tools.import_reference import ImportReferenceConfig
from noise2map_core.workflows.tools.ingest_dataset import IngestDatasetConfig

SCRIPTS = {found.name: found.path for found in find_applications()}
COMMAND = Path(sys.executable).parent / "noise2map"
COMMANDS = [found.name for found in (*find_applications(), *find_tools())]
EARLIER_DIGEST = "9a0442f41aa7c9726d25d058defc902cfe6232fbe42e9fa3704a17e3d4d1292d"
"""Of settings that were tasks, gsd_range and training.batch_size."""
HEAVY = ("torch", "ray", "rasterio", "numpy", "odc", "pystac", "xarray", "geopandas")


class OptimiserConfig(BaseModel):
    """Steps downhill."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    lr: PositiveFloat = 1e-3
    """Size of a step."""
    steps: PositiveInt | Literal["auto"] = "auto"
    """How many."""


class ByRaster(BaseModel):
    """Labels from a raster."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["raster"] = "raster"
    asset: str
    """Key of an asset."""


class Unlabelled(BaseModel):
    """No labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none"] = "none"


class ToyConfig(BaseModel):
    """A config with one of each."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: Path
    """Where to write
    what is made."""
    search: SearchConfig
    """Where the imagery is."""
    optimiser: OptimiserConfig = Field(default_factory=OptimiserConfig)
    boxes: dict[str, tuple[tuple[float, float, float, float], ...]] = {}
    """Named boxes."""
    timesteps: tuple[int, ...] | None = None
    """Some of them."""
    overwrite: bool = False
    """Replace what is there."""
    labels: Annotated[ByRaster | Unlabelled, Discriminator("kind")] = Field(
        default_factory=Unlabelled
    )
    """Labels, if any."""
    tags: tuple[str, ...] = ("a", "b")
    """Words."""


REQUIRED = ("--output", "o", "--catalog", "c", "--collection", "k")


def parsed(*args: str) -> ToyConfig:
    return parse_config(ToyConfig, [*args], name="make-toys")


def written(tmp_path: Path, **settings: Any) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def refusal(*args: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_required_settings_may_come_from_the_yaml_or_from_flags(tmp_path: Path) -> None:
    config = written(tmp_path, search={"catalog": "http://in-yaml", "collection": "k"})
    settings = parsed(config, "--output", "by-flag")
    assert settings.output == Path("by-flag")  # of the current directory
    assert settings.search == SearchConfig(catalog="http://in-yaml", collection="k")


def test_a_flag_overrides_the_yaml_and_leaves_its_neighbours(tmp_path: Path) -> None:
    config = written(
        tmp_path, output="o", search={"catalog": "http://c", "collection": "k"},
        optimiser={"lr": 0.5},
    )  # fmt: skip
    settings = parsed(config, "--search.collection", "other", "--optimiser.steps", "7")
    assert settings.search == SearchConfig(catalog="http://c", collection="other")
    assert settings.optimiser == OptimiserConfig(lr=0.5, steps=7)


def test_a_short_flag_is_the_long_one() -> None:
    short = parsed(*REQUIRED, "--bands", "red", "nir")
    assert short == parsed(
        "--output", "o", "--search.catalog", "c", "--search.collection", "k",
        "--search.bands", "red", "nir",
    )  # fmt: skip


def test_a_path_is_the_same_by_flag_as_in_the_yaml_file_urls_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Places(BaseModel):
        here: LocalPath
        there: Location | None = None
        several: tuple[Location, ...] = ()

    urls = {"here": "file:///a%20b", "there": "FILE://localhost/c", "several": ["file:/d", "e"]}
    flags = ["--here", urls["here"], "--there", urls["there"], "--several", *urls["several"]]
    by_flags = parse_config(Places, flags)
    assert by_flags == parse_config(Places, [written(tmp_path, **urls)])
    assert (by_flags.here, by_flags.there) == (Path("/a b"), Path("/c"))
    assert by_flags.several == (Path("/d"), Path("e"))
    with pytest.raises(ConfigError, match="here: file://server/a names no file of this machine"):
        parse_config(Places, ["--here", "file://server/a"])


def test_dashes_and_underscores_are_the_same_in_flags() -> None:
    class Tiled(BaseModel):
        grid: GridConfig = GridConfig()

    for flag in ("--grid.tile_px", "--grid.tile-px"):
        assert parse_config(Tiled, [flag, "64"]).grid.tile_px == 64


def test_a_nested_setting_is_given_as_yaml() -> None:
    boxes = parsed(*REQUIRED, "--boxes", "{train: [[0, 0, 1e2, 9]]}").boxes
    assert boxes == {"train": ((0.0, 0.0, 100.0, 9.0),)}
    assert "flag --boxes is not YAML" in refusal(*REQUIRED, "--boxes", "{train: [")


def test_none_numbers_and_switches_are_read() -> None:
    settings = parsed(
        *REQUIRED, "--timesteps", "999", "500", "--overwrite", "--optimiser.lr", "1e-4"
    )
    assert settings.timesteps == (999, 500)
    assert settings.overwrite
    assert settings.optimiser.lr == 1e-4
    assert parsed(*REQUIRED, "--timesteps", "None").timesteps is None


def test_a_misspelt_key_is_refused_with_its_path(tmp_path: Path) -> None:
    config = written(tmp_path, search={"catalgo": "c", "collection": "k"}, output="o")
    assert refusal(config) == "unknown setting search.catalgo. Did you mean search.catalog?"


def test_a_key_in_the_wrong_section_is_refused_with_the_right_one(tmp_path: Path) -> None:
    config = written(tmp_path, lr=1.0, output="o", search={"catalog": "c", "collection": "k"})
    assert refusal(config) == "unknown setting lr. Did you mean optimiser.lr?"


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--catlog", "Did you mean --catalog?"),
        ("--steps", "Did you mean --optimiser.steps?"),  # without its section
        ("--optimiser.stpes=3", "Did you mean --optimiser.steps?"),
        ("--boxs", "Did you mean --boxes?"),
        ("--price_per_hour", "It is one of plan."),  # another command's
        ("--qqqqq", "See --help."),
    ],
)
def test_a_misspelt_flag_is_refused_with_the_one_that_is_near(flag: str, said: str) -> None:
    assert refusal(*REQUIRED, flag, "x") == f"unknown flag {flag}. {said}"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["changed"], ("changed",)),
        (["changed", "2015"], ("changed", "2015")),
        (["[changed, built]"], ("changed", "built")),
        (["[changed,", "built]"], ("changed", "built")),  # a shell without quotes
    ],
)
def test_a_setting_that_may_be_a_list_of_names_takes_words(
    words: list[str], meant: tuple[str, ...]
) -> None:
    given = ["--labels.kind", "polygons", "--labels.path", "a.gpkg", "--labels.column", "c"]
    labels = ingest_labels(*given, "--labels.classes", *words, "--labels.unchanged", "same")
    assert (labels.classes, labels.unchanged) == (meant, ("same",))


def test_the_same_flags_take_numbers_and_mappings_where_labels_are_rasters() -> None:
    given = ["--labels.kind", "raster", "--labels.path", "a.tif", "--labels.unchanged", "0", "3"]
    assert ingest_labels(*given).unchanged == (0, 3)
    of_dates = [*given[:4], "--labels.task", "segment", "--labels.classes", "{land: [0], sea: [1]}"]
    assert ingest_labels(*of_dates).classes == {"land": (0,), "sea": (1,)}


def test_the_words_of_all_choices_of_a_setting_are_shown_together() -> None:
    either = Literal["paper", "strict"] | Literal["transfer"] | None
    assert metavar(either) == "{paper,strict,transfer}"
    assert metavar(Literal["auto"] | int) == "{auto}|INT"


@pytest.mark.parametrize(("words", "meant"), [(["equal"], "equal"), (["1", "2.5"], (1.0, 2.5))])
def test_a_choice_that_may_be_numbers_takes_one_word_or_several(
    words: list[str], meant: Any
) -> None:
    given = ["--chips", "c.zarr", "--output", "o", "--change.loss.class-weights", *words]
    config = parse_config(FinetuneMapsConfig, given)
    assert config.change is not None and config.change.loss.class_weights == meant


def ingest_labels(*flags: str) -> Any:
    needed = ["--aoi=1,2,3,4", "--catalog", "c", "--collection", "k", "--after", "2020-01-01"]
    dates = ["--before", "2019-01-01", "--output", "chips.zarr"]
    return parse_config(IngestRegionConfig, [*needed, *dates, *flags]).labels


def test_a_yaml_file_behind_flags_is_told_where_it_belongs() -> None:
    message = refusal(*REQUIRED, "config.yaml")
    assert message.startswith("config.yaml belongs to no flag: a YAML file comes first")


def test_all_missing_settings_are_named_at_once() -> None:
    message = refusal("--collection", "k")
    assert message.startswith("missing settings output, search.catalog:")
    assert "--output, --search.catalog" in message


def test_a_choice_on_kind_is_made_by_flags(tmp_path: Path) -> None:
    by_raster = parsed(*REQUIRED, "--labels.kind", "raster", "--labels.asset", "change")
    assert by_raster.labels == ByRaster(asset="change")
    config = written(tmp_path, labels={"kind": "raster", "asset": "change"})
    assert parsed(config, *REQUIRED).labels == ByRaster(asset="change")
    assert parsed(config, *REQUIRED, "--labels.asset", "other").labels == ByRaster(asset="other")
    assert parsed(config, *REQUIRED, "--labels.kind", "none").labels == Unlabelled()


def test_what_is_wrong_in_a_choice_is_named_by_its_path(tmp_path: Path) -> None:
    assert refusal(*REQUIRED, "--labels.asset", "x").startswith("missing setting labels.kind:")
    assert refusal(*REQUIRED, "--labels.kind", "raster").startswith("missing setting labels.asset:")
    config = written(tmp_path, labels={"kind": "raster", "asst": "change", "asset": "x"})
    assert refusal(config, *REQUIRED) == "unknown setting labels.asst. Did you mean labels.asset?"


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("--optimiser.lr", "-1"), "optimiser.lr"),
        (("--optimiser.steps", "0"), "optimiser.steps"),
        (("--optimiser.steps", "many"), "--optimiser.steps"),
        (("--boxes", "{train: [[0, 0, 1]]}"), "boxes"),
        (("--output",), "--output"),
    ],
)
def test_a_wrong_value_is_refused_by_name(args: tuple[str, ...], named: str) -> None:
    assert named in refusal(*REQUIRED, *args)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words\n"])
def test_what_is_not_a_mapping_of_settings_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert str(path) in refusal(str(path))


def test_a_missing_config_file_is_named() -> None:
    assert refusal("no/such.yaml") == "config no/such.yaml does not exist."


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_spelling_of_a_float_is_one_in_yaml(value: float) -> None:
    for text in (repr(value), f"{value:e}", f"{value:.17g}"):
        assert float(parse_yaml(text)) == float(text)
    assert isinstance(parse_yaml(f"{value:e}"), float)


def test_dates_in_yaml_stay_the_text_that_a_search_wants() -> None:
    assert parse_yaml("2000-03-17") == "2000-03-17"
    assert parse_yaml("1e-4") == 1e-4


def run_toy(
    run: Callable[[ToyConfig], Any], *args: str, monkeypatch: pytest.MonkeyPatch
) -> int | str | None:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["toy.py", *REQUIRED, *args])
    with pytest.raises(SystemExit) as stopped:
        application(ToyConfig, run)
    signal.signal(signal.SIGTERM, handler)
    return stopped.value.code


def test_the_result_is_summarised_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Result:
        def summary(self) -> list[str]:
            return ["two tiles", "one map"]

    assert run_toy(lambda config: Result(), monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "two tiles\none map\n"


class WrappedError(CatalogError):
    """As Ray hands on a worker's error: an instance of its class, with a traceback for a text."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("ray::task()\n  Traceback …\n")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Noise2MapError("it broke"), 1, "Noise2MapError: it broke"),
        (ConfigError("no such\n  thing"), 2, "ConfigError: no such thing"),
        (IncompleteRegionError("3 tiles failed"), 3, "IncompleteRegionError: 3 tiles failed"),
        (OutputHeldError("pid 7 holds it"), 4, "OutputHeldError: pid 7 holds it"),
        (WrappedError(CatalogError("it is HTML")), 2, "CatalogError: it is HTML"),
        (OSError(errno.ENOSPC, "full", "/x/y"), 1, "OutputError: no space left for /x/y."),
        (ZeroDivisionError("by zero"), 1, "ZeroDivisionError: by zero (--debug shows"),
        (KeyboardInterrupt(), 130, "Interrupted; the same command continues"),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(config: ToyConfig) -> None:
        raise error

    assert run_toy(fail, monkeypatch=monkeypatch) == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: ToyConfig) -> None:
        raise ConfigError("no such thing")

    assert run_toy(fail, "--debug", monkeypatch=monkeypatch) == 2
    assert "Traceback" in capsys.readouterr().err


def test_sigterm_unwinds_and_says_that_a_rerun_continues(tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text(
        "import time\n"
        "from pydantic import BaseModel\n"
        "from noise2map_core.cli.application import application\n"
        "class WaitConfig(BaseModel):\n"
        "    pass\n"
        "def run(config):\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        print('unwound', flush=True)\n"
        "application(WaitConfig, run)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert out == "unwound\n"
    assert err == "Stopped by SIGTERM; the same command continues where this one ended.\n"


def test_the_help_shows_docstrings_and_the_values_of_the_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    config = written(tmp_path, output="o", optimiser={"lr": 0.25})
    with pytest.raises(SystemExit) as stopped:
        parsed(config, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert stopped.value.code == 0
    assert "noise2map make-toys [CONFIG ...]" in shown
    assert f"Where to write what is made. (default: {tmp_path}/o)" in shown
    assert "Size of a step. (default: 0.25)" in shown
    assert "Words. (default: a b)" in shown
    assert "(required)" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    shown, loaded = _shown_and_loaded(COMMAND, command, "--help")
    assert f"noise2map {command}" in shown
    assert not set(HEAVY) & loaded


def test_help_of_all_commands_loads_nothing_heavy() -> None:
    shown, loaded = _shown_and_loaded(COMMAND, "--help")
    assert all(f"  {command} " in shown for command in COMMANDS)
    assert not set(HEAVY) & loaded


@pytest.mark.parametrize("command", SCRIPTS)
def test_help_of_a_script_loads_nothing_heavy(command: str) -> None:
    shown, loaded = _shown_and_loaded(SCRIPTS[command], "--help")
    assert f"noise2map {command}" in shown
    assert not set(HEAVY) & loaded


def _shown_and_loaded(script: Path, *args: str) -> tuple[str, set[str]]:
    """What a script prints, and the packages that it has loaded when it ends with code 0."""
    probe = (
        "import runpy, sys\n"
        f"sys.argv = {[str(script), *args]!r}\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    shown, _, loaded = told.rpartition("LOADED")
    return shown, set(loaded.split())


def test_a_switch_may_stand_before_what_a_command_is_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Result:
        def __init__(self, config: ToyConfig) -> None:
            self.config = config

        def summary(self) -> list[str]:
            return [f"{self.config.output} {self.config.overwrite}"]

    given = ("--overwrite", "--debug", "made", "--search.catalog", "c", "--search.collection", "k")
    monkeypatch.setattr(sys, "argv", ["toy.py", *given])
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        application(ToyConfig, Result, operands=("output",))
    signal.signal(signal.SIGTERM, handler)
    assert (stopped.value.code, capsys.readouterr().out) == (0, "made True\n")


@pytest.mark.parametrize("flag", ["--plan", "--price_per_hour", "--price-per-hour=3"])
def test_a_flag_that_is_no_more_names_the_way_out(flag: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown flag {flag}. `noise2map plan`, with the same"):
        parse_config(InferRegionConfig, [flag])


def test_a_setting_that_is_no_more_is_refused_unless_it_is_at_its_default(tmp_path: Path) -> None:
    settings = {"aoi": "a", "after": "2020", "checkpoint": "c", "output": "o",
                "search": {"catalog": "c", "collection": "k"}}  # fmt: skip
    config = parse_config(InferRegionConfig, [written(tmp_path, **settings)])
    earlier = settings | {"plan": False, "price_per_hour": None}
    assert parse_config(InferRegionConfig, [written(tmp_path, **earlier)]) == config
    for name, value in (("plan", True), ("price_per_hour", 3.0)):
        with pytest.raises(ConfigError, match=f"unknown setting {name}. `noise2map plan`"):
            parse_config(InferRegionConfig, [written(tmp_path, **(earlier | {name: value}))])


@pytest.mark.parametrize(
    ("config", "old", "new"),
    [
        (FinetuneMapsConfig, "training.batch_size", "training.batch"),
        (FinetuneMapsConfig, "batch_size", "training.batch"),
        (FinetuneMapsConfig, "tasks", "task"),
        (FinetuneMapsConfig, "gsd_range", "resolution_range"),
        (SearchSchedulesConfig, "finetune.training.batch_size", "finetune.training.batch"),
        (EvaluateMapsConfig, "evaluation.any_gsd", "evaluation.any_resolution"),
        (IngestDatasetConfig, "dataset.gsd", "dataset.resolution"),
        (ImportReferenceConfig, "chip_size", "chip_px"),
        (DrawWorldsConfig, "gsd_spread", "resolution_spread"),
    ],
)
def test_an_earlier_name_is_refused_with_the_one_of_now(
    tmp_path: Path, config: type[BaseModel], old: str, new: str
) -> None:
    now = f"It is {new} now \\(--{new.replace('_', '-')}\\)"
    with pytest.raises(ConfigError, match=f"unknown flag --{old}. {now}"):
        parse_config(config, [f"--{old}", "3"])
    nested: Any = 3
    for part in reversed(old.split(".")):
        nested = {part: nested}
    if "dataset" in nested:
        nested = {"dataset": {"kind": "folders", "root": "r", "resolution": 1, "gsd": 3}}
    with pytest.raises(ConfigError, match=f"unknown setting {old}. {now}"):
        parse_config(config, [written(tmp_path, **nested)])


def test_what_weights_depend_on_has_the_digest_that_it_had_under_earlier_names() -> None:
    config = FinetuneMapsConfig(
        chips="c", output="o", task=("segment", "change"), resolution_range=(1, 2),
        training={"batch": 8},
    )  # fmt: skip
    settings = learnt_settings(config, {"chips", "output", "resources"})
    assert settings["training"]["batch_size"] == 8 and settings["tasks"] == ["segment", "change"]
    assert digest_of(settings) == EARLIER_DIGEST


def test_one_task_needs_no_list(tmp_path: Path) -> None:
    for task in ("segment", ["segment"]):
        given = written(tmp_path, chips="c", output="o", task=task)
        assert parse_config(FinetuneMapsConfig, [given]).task == ("segment",)


def test_a_setting_of_another_kind_is_told_to_be_one(tmp_path: Path) -> None:
    dataset = {"kind": "folders", "root": "r", "resolution": 1, "task": "change"}
    said = "dataset.task is no setting of dataset.kind folders, only of spacenet7, whu, xview2"
    with pytest.raises(ConfigError, match=said):
        parse_config(IngestDatasetConfig, [written(tmp_path, output="o", dataset=dataset)])


def test_flags_are_shown_with_dashes_and_nothing_as_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parse_config(FinetuneMapsConfig, ["--help", "all"], name="finetune-maps")
    shown = capsys.readouterr().out
    flags = re.findall(r"(?<![\w-])--[\w.-]+", shown)
    assert "--training.checkpoint-epochs" in flags and "--model.fusion" in flags
    assert not [flag for flag in flags if "_" in flag and not flag.startswith("--change.weight")]
    assert "{None}" not in shown and "None," not in shown


def test_help_shows_what_a_run_needs_and_names_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parse_config(InferRegionConfig, ["--help"], name="infer-region")
    shown = capsys.readouterr().out
    assert "--catalog STR, --search.catalog STR" in shown and "--grid.crs" not in shown
    assert re.search(r"^  grid +5  ", shown, re.MULTILINE)
    with pytest.raises(ConfigError, match=r"no section gird\. Did you mean grid"):
        parse_config(InferRegionConfig, ["--help", "gird"], name="infer-region")


def paths_of(folder: Path, **settings: Any) -> InferRegionConfig:
    needed = {"aoi": "8,47,9,48", "after": "2020", "output": "map",
              "search": {"catalog": "https://c", "collection": "k"}}  # fmt: skip
    return parse_config(InferRegionConfig, [written(folder, **(needed | settings))])


def test_paths_in_a_file_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "configs", tmp_path / "elsewhere"
    folder.mkdir(), other.mkdir()
    (folder / "mine").mkdir()
    monkeypatch.chdir(other)
    config = paths_of(folder, aoi="a.geojson", checkpoint="mine", output="../map",
                      search={"catalog": "stac/catalog.json", "collection": "k"})  # fmt: skip
    assert config.aoi == folder / "a.geojson" and config.checkpoint == folder / "mine"
    assert config.output.resolve() == tmp_path / "map"
    assert Path(config.search.catalog) == folder / "stac" / "catalog.json"
    flags = [*("--aoi", "b.geojson", "--output", "c", "--after", "2020"),
             *("--catalog", "d", "--collection", "k")]  # fmt: skip
    assert parse_config(InferRegionConfig, flags).aoi == Path("b.geojson")


@pytest.mark.parametrize("name", ["buildings", "mad"])
def test_names_boxes_and_addresses_are_relative_to_nothing(tmp_path: Path, name: str) -> None:
    config = paths_of(tmp_path, checkpoint=name, output="s3://bucket/map")
    assert (str(config.checkpoint), str(config.aoi)) == (name, "8,47,9,48")
    assert (str(config.output), config.search.catalog) == ("s3://bucket/map", "https://c")


def test_a_path_that_is_only_in_the_current_directory_is_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "map").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"map in .* would be .*configs/map, .* \./map for one"):
        paths_of(tmp_path / "configs")
    assert paths_of(tmp_path / "configs", output="./map").output == tmp_path / "configs" / "map"


def test_paths_of_an_area_of_nights_are_relative_to_the_file_too(tmp_path: Path) -> None:
    area = {"id": "a", "aoi": "a.geojson", "sensor": "s", "checkpoint": "run/checkpoint",
            "since": "2020-01-01", "pair": {"kind": "fixed", "baseline": "2019-06-01"}}  # fmt: skip
    given = written(
        tmp_path, output="nights", areas=[area],
        sensors={"s": {"catalog": "items.parquet", "collection": "k"}},
        defaults={"output": "elsewhere"},
    )  # fmt: skip
    config = parse_config(NightlyConfig, [given])
    assert config.areas[0]["aoi"] == str(tmp_path / "a.geojson")
    assert config.areas[0]["checkpoint"] == str(tmp_path / "run" / "checkpoint")
    assert config.sensors["s"].catalog == str(tmp_path / "items.parquet")
    assert config.defaults == {"output": str(tmp_path / "elsewhere")}

"""The console command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

import noise2map_core
from noise2map_core.cli.application import parse_config
from noise2map_core.cli.main import job_entrypoint, split_submit, usage
from noise2map_core.cli.start import load
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.launch import TOOLS, applications_root, find_applications
from noise2map_core.workflows.tools.plan import PlanConfig
from tests.said import errors

COMMAND = Path(sys.executable).parent / "noise2map"


def noise2map(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *args], capture_output=True, text=True, timeout=60)


def test_help_lists_every_application_and_tool() -> None:
    shown = noise2map("--help")
    assert shown.returncode == 0
    assert shown.stdout == usage() + "\n"
    for name in [*TOOLS, *(found.name for found in find_applications())]:
        assert f"  {name} " in shown.stdout


def test_the_applications_are_those_of_the_checkout(checkout: Path) -> None:
    assert applications_root() == checkout
    scripts = {path.stem for path in (checkout / "pipelines").glob("[a-z]*.py")}
    assert {found.path.stem for found in find_applications()} >= scripts
    assert all(found.summary.endswith(".") for found in find_applications())


def test_an_application_loaded_by_path_has_a_config_class_and_a_run() -> None:
    for found in find_applications():
        module = load(found)
        assert issubclass(found.workflow.config, BaseModel)
        assert callable(module.run)
        assert load(found) is module


def test_the_version_is_that_of_the_package() -> None:
    assert noise2map("--version").stdout == f"noise2map {noise2map_core.__version__}\n"


def test_an_unknown_command_is_bad_input() -> None:
    ended = noise2map("infer-regoin")
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "ConfigError: no command 'infer-regoin'. Did you mean infer-region? Known: "
    )


def test_help_of_a_command_is_asked_for_in_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    asked = [("help", "plan", "grid"), ("plan", "--help", "grid"), ("--help", "plan", "grid")]
    first, *others = [noise2map(*args).stdout for args in asked]
    assert others == [first, first]
    assert "--grid.tile-px" in first and "--mask.use" not in first


def test_what_plan_does_not_use_is_not_in_its_help_and_taken_all_the_same() -> None:
    shown = noise2map("plan", "--help", "all").stdout
    assert "--price-per-hour" in shown and "--inference.batch" in shown
    assert "--overwrite" not in shown and "--allow-incomplete" not in shown
    needed = "--aoi a --after 2020 --output o --catalog c --collection k"
    config = parse_config(PlanConfig, ["--overwrite", *needed.split()])
    assert config.overwrite


COMPLETE = """
source {script}
complete -p noise2map
_words() {{
  COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
  COMPREPLY=(); _tyro_noise2map; echo "${{COMPREPLY[@]}}"
}}
_words noise2map infer-r
_words noise2map infer-region --pair-quality.wi
_words noise2map config ""
"""


def test_a_shell_completes_commands_and_the_flags_of_each(tmp_path: Path) -> None:
    script = tmp_path / "noise2map.bash"
    script.write_text(noise2map("--print-completion", "bash").stdout)
    ended = subprocess.run(
        ["bash", "-c", COMPLETE.format(script=script)], capture_output=True, text=True, timeout=60
    )
    registered, command, flags, *_ = ended.stdout.splitlines()
    assert registered == "complete -o default -F _tyro_noise2map noise2map"
    assert command == "infer-region"
    assert set(flags.split()) == {"--pair-quality.windows", "--pair-quality.window-px"}
    assert "knows bash, zsh, tcsh" in noise2map("--print-completion", "fish").stderr


def written_to(output: int, *args: str, unbuffered: str = "") -> tuple[int, str]:
    """Exit code and stderr of a command whose stdout is the file `output`."""
    ended = subprocess.run(
        [COMMAND, *args], stdout=output, stderr=subprocess.PIPE, text=True, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [["--help"], ["infer-region", "--help"], ["doctor"]])
def test_output_that_nobody_reads_ends_the_command_without_a_word(
    args: list[str], unbuffered: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert written_to(writer, *args, unbuffered=unbuffered) == (141, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("args", [["--version"], ["infer-region", "--help"]])
def test_output_that_finds_no_space_ends_the_command_in_one_line(args: list[str]) -> None:
    with open("/dev/full", "w") as full:
        code, said = written_to(full.fileno(), *args)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("OutputError: no space left")


def test_an_application_gets_the_rest_of_the_command_line() -> None:
    ended = noise2map("infer-region", "no/such.yaml", "--output", "x")
    assert (ended.returncode, ended.stderr) == (
        2,
        "ConfigError: config no/such.yaml does not exist.\n",
    )


def test_a_cluster_that_does_not_answer_is_bad_input() -> None:
    ended = noise2map("infer-region", "--submit", "http://127.0.0.1:1", "--aoi", "x")
    assert ended.returncode == 2
    (line,) = errors(ended.stderr)
    assert line.startswith("ConfigError: no Ray dashboard answers at http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("args", "address", "rest"),
    [
        (
            ["c.yaml", "--submit", "http://h:1", "--aoi", "a"],
            "http://h:1",
            ["c.yaml", "--aoi", "a"],
        ),
        (["--submit=http://h:1"], "http://h:1", []),
        (["c.yaml", "--aoi", "a"], None, ["c.yaml", "--aoi", "a"]),
    ],
)
def test_the_address_is_taken_out_of_the_arguments(
    args: list[str], address: str | None, rest: list[str]
) -> None:
    assert split_submit(args) == (address, rest)


@pytest.mark.parametrize("args", [["--submit"], ["--submit", "--aoi", "a"]])
def test_an_address_that_is_missing_is_bad_input(args: list[str]) -> None:
    with pytest.raises(ConfigError, match="--submit needs an address"):
        split_submit(args)


def test_a_job_names_its_config_as_it_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "pipelines" / "infer_region.py"
    config = tmp_path / "pipelines" / "configs" / "a b.yaml"
    config.parent.mkdir(parents=True)
    config.touch()
    monkeypatch.chdir(config.parent)
    entrypoint = job_entrypoint(script, tmp_path, ["a b.yaml", "--output", "/x"])
    assert entrypoint == "python pipelines/infer_region.py 'pipelines/configs/a b.yaml' --output /x"
    with pytest.raises(ConfigError, match="lies outside"):
        job_entrypoint(script, tmp_path / "pipelines", ["../../elsewhere.yaml"])

"""A release: version, tag and changelog say the same, or none is made."""

import re
from pathlib import Path

import pytest
import yaml

from infra.packaging.release import fault, sections, version_of

CHANGES = {"0.2.0": "- Something.", "0.1.0": "First."}


def test_the_changelog_is_headed_by_the_version_or_by_what_is_to_come(checkout: Path) -> None:
    version, headings = version_of(checkout), list(sections(checkout))
    assert headings[:2] in ([version, headings[1]], ["Unreleased", version])
    numbers = [tuple(map(int, name.split("."))) for name in headings if name != "Unreleased"]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(re.fullmatch(r"Unreleased|\d+\.\d+\.\d+", name) for name in headings)


@pytest.mark.parametrize(
    ("tag", "changes", "words"),
    [
        ("v0.2.0", CHANGES, ""),
        ("v0.3.0", CHANGES, "the tag is v0.3.0, the version 0.2.0"),
        ("0.2.0", CHANGES, "the tag is 0.2.0"),
        ("v0.2.0", {"Unreleased": "- More.", **CHANGES}, "begins with Unreleased: call that"),
        ("v0.2.0", {"0.1.0": "First."}, "begins with '0.1.0': a section 0.2.0 belongs there"),
        ("v0.2.0", {}, "begins with ''"),
        ("v0.2.0", {"0.2.0": ""}, "says nothing of 0.2.0"),
    ],
)
def test_what_does_not_fit_is_not_released(tag: str, changes: dict[str, str], words: str) -> None:
    said = fault(tag, "0.2.0", changes)
    assert words in said if words else said == ""


def test_a_release_is_checked_before_it_is_built_and_built_before_it_is_published(
    checkout: Path,
) -> None:
    workflow = yaml.safe_load((checkout / ".github" / "workflows" / "release.yml").read_text())
    jobs = workflow["jobs"]
    runs = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert [line.split("#")[0].split()[:2] for line in runs] == [
        ["python", "infra/packaging/release.py"], ["make", "distributions"], ["make", "wheel-demo"],
    ]  # fmt: skip
    assert jobs["publish"]["needs"] == "build" and jobs["publish"]["environment"] == "pypi"
    assert workflow["permissions"] == {"contents": "read"}


def test_every_python_that_is_promised_is_tried(checkout: Path) -> None:
    workflow = yaml.safe_load((checkout / ".github" / "workflows" / "ci.yml").read_text())
    tried = set(workflow["jobs"]["pythons"]["strategy"]["matrix"]["python"]) | {
        step["with"]["python-version"]
        for step in workflow["jobs"]["check"]["steps"]
        if "python-version" in step.get("with", {})
    }
    project = (checkout / "pyproject.toml").read_text()
    assert tried == set(re.findall(r"Python :: (3\.\d+)", project))

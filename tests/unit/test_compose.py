"""docker-compose.yml and docker/ hold together, as far as that can be known without a container engine."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")
SCRIPTS = Path(sys.executable).parent  # the environment's own dagster, not one from PATH
METRICS = {"lake-metrics", "prometheus", "grafana"}
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
HELP = """
import contextlib, importlib.metadata, io, json, sys
told = []
for command in json.loads(sys.argv[1]):
    [script] = importlib.metadata.entry_points(group="console_scripts", name=command[0])
    # --help last: an unknown command or option before it is an error, a known one is not carried out
    sys.argv, said, code = [*command, "--help"], io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            script.load()()
        except SystemExit as end:
            code = end.code
    told.append((command, code, said.getvalue()))
print(json.dumps(told))
"""


def one_shots() -> set[str]:
    return {name for name, service in SERVICES.items() if service["restart"] == "no"}


def dagster_commands() -> list[list[str]]:
    commands = [service["command"] for service in SERVICES.values() if "command" in service]
    commands += [service["healthcheck"]["test"][1:] for service in SERVICES.values() if "healthcheck" in service]
    return [command for command in commands if command[0].startswith("dagster")]


def instructions(dockerfile: Path, name: str) -> list[list[str]]:
    lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{name} ")]


def copied_files(dockerfile: Path) -> list[str]:
    """What it takes from its build context."""
    copies = [words for words in instructions(dockerfile, "COPY") if not words[0].startswith("--from")]
    return [source for words in copies for source in words[:-1]]


def test_every_role_has_a_service() -> None:
    stay = {"object-store", "event-receiver", "postgres", "code-location", "webserver", "daemon"}
    assert set(SERVICES) == stay | METRICS | {"bucket-setup"}


def test_the_store_sends_its_events_to_the_receiver_whose_inbox_the_code_location_reads() -> None:
    from lakehouse.storage.webhook import Webhook

    receiver, store = SERVICES["event-receiver"], SERVICES["object-store"]
    given = {key: value for key, value in store["environment"].items() if key.startswith("MINIO_NOTIFY")}
    url = f"http://event-receiver:{receiver['command'][-1]}/"
    token = receiver["environment"]["LAKEHOUSE_EVENTS_TOKEN"]
    # the targets of the embedded store
    assert given == Webhook(url, SecretStr(token), Path("/events")).environment()
    queue = {volume.split(":")[1] for volume in store["volumes"]}
    assert queue == set(instructions(DOCKER / "object-store.Dockerfile", "RUN")[1][1:]) == {"/data", "/events"}
    inboxes = [SERVICES[name]["environment"]["LAKEHOUSE_EVENTS_INBOX"] for name in ("event-receiver", "code-location")]
    assert len(set(inboxes)) == 1
    for name in ("event-receiver", "code-location"):
        assert f"events:{Path(inboxes[0]).parent}" in SERVICES[name]["volumes"]


@pytest.mark.parametrize("name", ["event-receiver", "lake-metrics"])
def test_the_commands_of_ours_and_their_options_are_known(name: str) -> None:
    command = SERVICES[name]["command"]
    done = subprocess.run(
        [str(SCRIPTS / command[0]), *command[1:], "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert " ".join(word for word in command[:3] if word.isalpha()) in done.stdout


def test_every_network_and_volume_that_a_service_uses_is_declared_and_used() -> None:
    volumes = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert {name for name in volumes if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert all((ROOT / name).exists() for name in volumes if name.startswith("."))
    assert {network for service in SERVICES.values() for network in service["networks"]} == set(COMPOSE["networks"])


def test_every_dependency_exists_and_its_condition_can_come_true() -> None:
    edges = [(name, *edge) for name, service in SERVICES.items() for edge in service.get("depends_on", {}).items()]
    assert len(edges) >= 7
    for name, needed, how in edges:
        assert needed in SERVICES, name
        expected = "service_completed_successfully" if needed in one_shots() else "service_healthy"
        assert how == {"condition": expected}, name
        assert set(SERVICES[name]["networks"]) & set(SERVICES[needed]["networks"]), f"{name} cannot reach {needed}"


def test_every_service_that_stays_has_a_health_check() -> None:
    assert one_shots() == {"bucket-setup"}
    assert {name for name, service in SERVICES.items() if "healthcheck" in service} == set(SERVICES) - one_shots()


def test_published_ports_are_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_metrics_are_asked_of_the_address_that_serves_them_and_start_when_they_are_wanted() -> None:
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["metrics"]} == METRICS
    [job] = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    port = SERVICES["lake-metrics"]["command"][-1]
    assert job["static_configs"] == [{"targets": [f"lake-metrics:{port}"]}]
    [source] = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    mounted = [volume.split(":") for name in METRICS for volume in SERVICES[name]["volumes"] if volume[0] == "."]
    assert all(access == "ro" for *_, access in mounted)
    [provider] = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/lakehouse.yml").read_text())["providers"]
    assert provider["options"]["path"] in {inside for _, inside, _ in mounted}


def test_a_published_service_is_on_a_network_that_the_host_can_reach() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert all(set(service["networks"]) - internal for service in SERVICES.values() if service.get("ports"))
    assert set(SERVICES["postgres"]["networks"]) <= internal


def test_no_secret_has_a_value_or_a_default_in_the_file() -> None:
    variables = VARIABLE.findall((ROOT / "docker-compose.yml").read_text())
    assert variables
    assert all(rest.startswith(":?") for _, rest in variables), "only required variables"
    secrets = [
        (key, value)
        for service in SERVICES.values()
        for key, value in service["environment"].items()
        if re.search("PASSWORD|SECRET|ACCESS_KEY|ROOT_USER|TOKEN", key)
    ]
    assert len(secrets) >= 10
    assert all(VARIABLE.fullmatch(value) for _, value in secrets)


def test_the_readme_command_makes_every_variable_the_file_needs(tmp_path: Path) -> None:
    [script] = re.findall(r"```sh\n(.*?)```", (DOCKER / "README.md").read_text(), re.DOTALL)
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True, timeout=10)
    env = tmp_path / ".env"
    values = dict(line.split("=") for line in env.read_text().splitlines())
    needed = {name for name, _ in VARIABLE.findall((ROOT / "docker-compose.yml").read_text())}
    assert set(values) == needed
    assert len(set(values.values())) == len(values)
    assert all(re.fullmatch("[0-9a-f]{20}", value) for value in values.values())
    assert env.stat().st_mode & 0o077 == 0


def test_only_the_services_that_use_the_store_get_its_keys() -> None:
    with_keys = {name for name, service in SERVICES.items() if "LAKEHOUSE_S3_SECRET_KEY" in service["environment"]}
    assert with_keys == {"bucket-setup", "code-location", "lake-metrics"}


def test_the_store_is_the_version_that_the_embedded_one_is() -> None:
    from lakehouse.storage.minio_binary import MINIO_VERSION

    assert ["MINIO_VERSION=" + MINIO_VERSION] in instructions(DOCKER / "object-store.Dockerfile", "ARG")


@pytest.fixture(scope="module")
def pages() -> dict[str, tuple[int, str]]:
    """Exit code and help of each command of Dagster: what its script calls, all in one process, which loads Dagster."""
    asked = json.dumps(dagster_commands())
    done = subprocess.run([sys.executable, "-c", HELP, asked], capture_output=True, text=True, timeout=120, check=True)
    return {shlex.join(command): (code, text) for command, code, text in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("command", dagster_commands(), ids=lambda command: " ".join(command[:3]))
def test_dagster_knows_each_command_and_its_options(pages: dict[str, tuple[int, str]], command: list[str]) -> None:
    code, text = pages[shlex.join(command)]
    assert code == 0, text
    # no group of commands printed its own page in place of the command's
    assert text.split("\n")[0].startswith("Usage: " + " ".join(w for w in command if re.fullmatch("[a-z-]{3,}", w)))


def test_the_code_location_is_where_the_workspace_looks_for_it() -> None:
    [location] = yaml.safe_load((DOCKER / "workspace.yaml").read_text())["load_from"]
    command = SERVICES["code-location"]["command"]
    assert location["grpc_server"]["host"] in SERVICES
    assert str(location["grpc_server"]["port"]) == command[command.index("-p") + 1]


def test_the_instance_loads_and_its_postgres_driver_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sqlalchemy
    from dagster._core.instance.ref import InstanceRef
    from dagster_postgres.utils import pg_url_from_config

    monkeypatch.setenv("DAGSTER_STORAGE", str(tmp_path))
    for name, value in SERVICES["daemon"]["environment"].items():
        monkeypatch.setenv(name, "p w/@" if "PASSWORD" in name else value)
    config = InstanceRef.from_dir(str(DOCKER)).storage_data.config_dict  # raises on an unknown key
    settings = {name: os.environ[v["env"]] if isinstance(v, dict) else v for name, v in config["postgres_db"].items()}
    url = sqlalchemy.create_engine(
        pg_url_from_config({"postgres_db": settings})
    ).url  # imports the driver, connects later
    assert (url.host, url.port, url.password) == ("postgres", 5432, "p w/@")


def test_dagster_limits_runs_in_containers_as_it_does_outside() -> None:
    inside, outside = (yaml.safe_load(path.read_text()) for path in (DOCKER / "dagster.yaml", ROOT / "dagster.yaml"))
    shared = set(outside) - {"storage", "local_artifact_storage", "compute_logs"}
    assert {"concurrency", "run_monitoring"} <= shared
    assert {key: inside.get(key) for key in shared} == {key: outside[key] for key in shared}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_every_copied_file_exists_and_gets_into_the_build_context(dockerfile: Path) -> None:
    [build] = {
        (service["build"]["context"], service["build"]["dockerfile"])
        for service in SERVICES.values()
        if service.get("build", {}).get("dockerfile", "").endswith(dockerfile.name)
    }
    context = ROOT / build[0]
    assert context / build[1] == dockerfile
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in copied_files(dockerfile):
        assert (context / source).exists(), source
        assert source.split("/")[0] in allowed


def test_images_run_as_an_ordinary_user_from_pinned_bases() -> None:
    assert len(DOCKERFILES) == 2
    for dockerfile in DOCKERFILES:
        assert instructions(dockerfile, "USER"), dockerfile.name
        for image, *_ in instructions(dockerfile, "FROM"):
            assert re.search(r":\d+\.\d+", image), f"{dockerfile.name}: {image}"


def test_the_code_location_has_room_for_the_engine() -> None:
    service = SERVICES["code-location"]
    gigabytes = [
        int(text.removesuffix("g"))
        for text in (service["mem_limit"], service["environment"]["LAKEHOUSE_ENGINE_MEMORY"])
    ]
    assert gigabytes[0] >= 2 * gigabytes[1]


def test_folders_that_containers_write_to_belong_to_their_user() -> None:
    text = (DOCKER / "lakehouse.Dockerfile").read_text()
    mounts = {
        volume.split(":")[1]
        for name in ("code-location", "event-receiver", "webserver", "daemon")
        for volume in SERVICES[name]["volumes"]
    }
    owned = re.search(r"install -d -o lakehouse -g lakehouse (.*)", text)
    assert owned is not None
    assert set(owned[1].split()) == mounts


def test_large_files_are_unpacked_on_a_disk_and_not_in_the_memory_of_the_container() -> None:
    service = SERVICES["code-location"]
    folder = service["environment"]["TMPDIR"]
    assert [volume.split(":")[1] for volume in service["volumes"]].count(folder) == 1
    assert not any(mount.startswith(f"{folder}:") for mount in service["tmpfs"])


def test_the_image_has_the_extras_that_it_needs_and_no_tool_of_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installs = [
        words for words in instructions(DOCKER / "lakehouse.Dockerfile", "RUN") if words[:3] == ["uv", "pip", "install"]
    ]
    [words] = [words for words in installs if "--requirements" in words]
    extras = {words[at + 1] for at, word in enumerate(words) if word == "--extra"}
    assert extras == {"engine", "dagster", "report"} <= project["project"]["optional-dependencies"].keys()
    assert "--group" not in words and "requirements.lock" not in words[words.index("--requirements") + 1]
    assert words[words.index("--constraints") + 1] == "requirements.lock" and "--require-hashes" in words

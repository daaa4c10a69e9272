"""Dockerfile and docker-compose.yml: valid by the tools' own word, and in step with the settings and the tree.

Building the image needs a container engine and the network, so no test does it.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.settings import Settings
from tests.contracts.tree import PACKAGES, ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
REQUIRED = {"POSTGRES_PASSWORD": "0123456789abcdef", "SEALDESK_PUBLIC_URL": "https://chat.example.org"}
VARIABLES = {setting.metadata["variable"] for setting in fields(Settings)}


def instructions(keyword: str) -> list[str]:
    """What follows `keyword` in the Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return [line.split(None, 1)[1] for line in joined.splitlines() if line.split(None, 1)[:1] == [keyword]]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())


def tool(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found, f"{name} comes with requirements-test.txt and is not beside {sys.executable}"
    return found


def compose(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Let Compose itself read the file. It needs no engine for that."""
    return subprocess.run(
        [tool("docker-compose"), "--file", str(ROOT / "docker-compose.yml"), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = compose(tmp_path_factory.mktemp("compose"), REQUIRED)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = yaml.safe_load(result.stdout)["services"]
    return found


@pytest.mark.parametrize("missing", REQUIRED)
def test_nothing_starts_without_what_only_the_operator_knows(missing: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in REQUIRED.items() if name != missing}
    result = compose(tmp_path, environment)
    assert result.returncode != 0
    assert f"write {missing} into .env" in result.stderr


def test_the_comment_names_every_required_variable() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    assert required == set(REQUIRED)
    assert set(re.findall(r"^#   (\w+)=", COMPOSE, re.MULTILINE)) == required


def test_no_secret_has_a_value_in_the_files() -> None:
    named = [
        line
        for line in (*COMPOSE.splitlines(), *DOCKERFILE.splitlines())
        if re.match(r"(?i)\s*(?:ENV |ARG )?\w*(?:password|secret|token|key)\w*\s*[:=]", line)
    ]
    assert len(named) == 1
    assert re.fullmatch(r"\s+POSTGRES_PASSWORD: \$\{POSTGRES_PASSWORD:\?[^}]+\}", named[0])


def test_every_variable_exists_in_the_settings(services: dict[str, Any]) -> None:
    given = set(services["server"]["environment"]) | {
        name for name in image_environment() if name.startswith("SEALDESK")
    }
    assert given <= VARIABLES
    assert "DATABASE_URL" in given


def test_the_settings_accept_what_the_container_is_given(services: dict[str, Any]) -> None:
    settings = Settings.from_environment({**image_environment(), **services["server"]["environment"]})
    assert settings.host == "0.0.0.0"
    assert settings.url == REQUIRED["SEALDESK_PUBLIC_URL"]
    database = services["postgres"]["environment"]
    expected = f"{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}@postgres:5432/{database['POSTGRES_DB']}"
    assert settings.database_url == f"postgresql://{expected}"


def test_every_port_is_the_default_one(services: dict[str, Any]) -> None:
    port = str(Settings().port)
    assert image_environment()["SEALDESK_PORT"] == port
    assert instructions("EXPOSE") == [port]
    assert [(entry["host_ip"], str(entry["target"]), entry["published"]) for entry in services["server"]["ports"]] == [
        ("127.0.0.1", port, port)
    ]


def test_data_outlives_the_containers(services: dict[str, Any]) -> None:
    assert [mount["target"] for mount in services["server"]["volumes"]] == instructions("VOLUME")
    assert image_environment()["SEALDESK_DATA"] == instructions("VOLUME")[0]
    assert {mount["type"] for service in services.values() for mount in service["volumes"]} == {"volume"}


def test_the_server_waits_for_its_database_and_is_watched(services: dict[str, Any]) -> None:
    assert services["server"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["postgres"]["healthcheck"]["test"][1] == "pg_isready"
    assert "/health/ready" in instructions("HEALTHCHECK")[0]


def test_the_server_stops_by_itself_before_it_is_killed(services: dict[str, Any]) -> None:
    grace: str = services["server"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Settings().stop_timeout_s


def test_the_server_has_no_rights_that_it_does_not_need(services: dict[str, Any]) -> None:
    assert services["server"]["read_only"] is True
    assert services["server"]["cap_drop"] == ["ALL"]
    assert services["server"]["security_opt"] == ["no-new-privileges:true"]
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_what_the_image_copies_exists_and_is_let_through() -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")
    }
    copied = {source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]}
    assert copied == let_through
    assert set(PACKAGES) <= copied
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []


def test_hadolint_finds_nothing() -> None:
    result = subprocess.run(
        [tool("hadolint"), "--no-color", str(ROOT / "Dockerfile")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "")

"""The commands: they can be run, and their shell is well-formed."""

import os
import subprocess

import pytest
import yaml

NAMES = ("bootstrap", "demo", "lock", "pictures", "server", "test")
COMMANDS = [*(f"script/{name}" for name in NAMES), ".ci/run"]
SHELL = [*COMMANDS, "deploy/python"]


@pytest.mark.parametrize("command", [*SHELL, "deploy/provision"])
def test_a_command_can_be_run(checkout, command):
    assert os.access(checkout / command, os.X_OK)
    assert (checkout / command).read_text().startswith("#!")


@pytest.mark.parametrize("command", SHELL)
def test_its_shell_is_well_formed(checkout, command):
    result = subprocess.run(["sh", "-n", checkout / command], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_every_command_in_the_folder_is_checked_here(checkout):
    assert {f"script/{path.name}" for path in (checkout / "script").iterdir()} <= set(COMMANDS)


@pytest.mark.parametrize("command", ["script/bootstrap", "script/server", "script/demo"])
def test_help_says_what_a_command_does_and_starts_nothing(checkout, command, tmp_path):
    env = {**os.environ, "RIDGELINE_LOCAL": str(tmp_path / "local")}
    result = subprocess.run([checkout / command, "--help"], capture_output=True, text=True, env=env)
    assert result.returncode == 0
    assert command in result.stdout
    assert not (tmp_path / "local").exists()


def test_a_command_works_from_any_folder(checkout, tmp_path):
    result = subprocess.run([checkout / "script/server", "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0


def test_without_a_python_that_is_new_enough_one_sentence_says_so(checkout, tmp_path):
    """The finder sees only an old Python, and no apt."""
    old = "#!/bin/sh\nexit 1\n"
    for name in ("python3", "python3.11"):
        (tmp_path / name).write_text(old)
        (tmp_path / name).chmod(0o755)
    for tool in ("dirname", "id"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    finder = (checkout / "deploy/python").read_text().replace("/usr/bin/$name", f"{tmp_path}/$name")
    (tmp_path / "finder").write_text(finder)
    result = subprocess.run(
        ["/bin/sh", tmp_path / "finder", "server"], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "Python 3.11 or newer" in result.stderr


@pytest.mark.parametrize("file", ["compose.yaml", "kubernetes.yaml"])
def test_images_name_no_registry(checkout, file):
    def images(node):
        if isinstance(node, dict):
            yield from [node["image"]] if isinstance(node.get("image"), str) else []
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                yield from images(each)

    named = list(images(list(yaml.safe_load_all((checkout / "deploy" / file).read_text()))))
    assert named
    for image in named:
        assert "." not in image.split("/")[0].split(":")[0], image


def test_the_compose_file_has_the_services_of_both_profiles(checkout):
    services = yaml.safe_load((checkout / "deploy/compose.yaml").read_text())["services"]

    def started(profile):
        return {name for name, service in services.items() if profile in service.get("profiles", [profile])}

    assert started("one") == {"database", "redis", "migrate", "beat", "web", "worker"}
    assert started("many") == {"database", "redis", "migrate", "beat", "web-many", "worker-many", "proxy"}
    assert {name for name, service in services.items() if "profiles" not in service} == {"database", "redis"}

"""The package's papers agree with each other and with what is in the tree."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import yaml

from helpers.paths import ROOT

ASSETS = ROOT / "stdformer_ros" / "assets"
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()


def shipped():
    return sorted(
        path
        for path in ASSETS.iterdir()
        if path.is_file() and path.suffix != ".py" and path.name != "SHA256SUMS"
    )


def python_files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def test_setup_py_takes_its_facts_from_package_xml():
    command = [sys.executable, "setup.py", "--name", "--version", "--license"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    name, version, licence = result.stdout.split()[-3:]
    assert name == MANIFEST.findtext("name") == "stdformer_ros"
    assert version == MANIFEST.findtext("version")
    assert licence == MANIFEST.findtext("license") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_package_depends_on_every_ros_package_that_it_imports():
    depends = {item.text for item in MANIFEST if item.tag.endswith("depend")}
    imports = set()
    for file in [*python_files("stdformer_ros/ros"), *(ROOT / "launch").glob("*.py")]:
        imports |= set(re.findall(r"^(?:from|import) (\w+)", file.read_text(), re.MULTILINE))
    ros = {name for name in imports if name.endswith("_msgs") or name in ("rclpy", "launch_ros")}
    provided = {"builtin_interfaces", "rcl_interfaces"}  # every message and node brings them
    assert ros - provided <= depends
    assert {"rclpy", "sensor_msgs", "visualization_msgs", "diagnostic_msgs"} <= ros


def test_every_message_is_built():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    for message in (ROOT / "msg").glob("*.msg"):
        assert f"msg/{message.name}" in cmake


def test_what_ships_is_small():
    assert sum(path.stat().st_size for path in shipped()) <= 50 * 2**20


def test_every_requirement_is_pinned():
    def names(file):
        lines = (ROOT / file).read_text().splitlines()
        found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines if not line.startswith("#"))
        return {match[0].lower().replace("_", "-") for match in found if match}

    pinned = names("requirements.lock")
    for file in ("requirements.txt", "requirements-dev.txt", "requirements-ros.txt"):
        assert names(file) <= pinned, f"{file}: {names(file) - pinned}"
    lock = (ROOT / "requirements.lock").read_text()
    pins = [line for line in lock.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert "torch==2.13.0" in pins


def test_run_names_no_command_that_it_does_not_have():
    script = (ROOT / "run").read_text()
    usage = subprocess.run([ROOT / "run"], capture_output=True, text=True, check=True).stdout
    for command in re.findall(r"^  (\w+) .*  ", usage, re.MULTILINE):
        assert re.search(rf"^  {command}\)", script, re.MULTILINE), command
    unknown = subprocess.run([ROOT / "run", "dance"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 1
    assert "unknown command 'dance'" in unknown.stderr


def test_every_file_of_the_tree_has_a_place_in_the_wheel():
    from setuptools import find_packages

    packages = find_packages(str(ROOT), include=["stdformer_ros", "stdformer_ros.*"])
    folders = {str(path.parent.relative_to(ROOT)) for path in python_files("stdformer_ros")}
    assert {folder.replace("/", ".") for folder in folders} == set(packages)


def test_ci_checks_style_and_types_and_runs_the_suite():
    for script in (".ci/run", ".github/workflows/ci.yml"):
        text = (ROOT / script).read_text()
        commands = re.findall(r"^\s*(?:run: )?\./run (\w+)", text, re.MULTILINE)
        assert commands == ["lint", "test"], script
    lint = (ROOT / "run").read_text().partition("\nlint() {")[2].partition("\n}")[0]
    for check in ("ruff check .", "ruff format --check .", "mypy"):
        assert f"python -m {check} || status=1" in lint, check
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for repo in hooks for hook in repo["hooks"]] == ["./run lint"]


def test_ci_builds_for_the_distributions_that_the_readme_names():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "colcon.yml").read_text())
    distributions = workflow["jobs"]["workspace"]["strategy"]["matrix"]["distribution"]
    readme = (ROOT / "README.md").read_text()
    assert {"jazzy", "kilted"} == set(distributions)
    assert all(name.capitalize() in readme for name in distributions)

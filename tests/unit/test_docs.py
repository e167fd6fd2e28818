# SPDX-License-Identifier: GPL-2.0-or-later
"""The documentation says what the program does: generated pages are up to date, links lead somewhere, examples are valid."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nvlab import __version__, cli
from nvlab.medium import load_profile
from nvlab.scenario import loads

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / part / "README.md" for part in ("", "kmod", "grub")), *sorted((ROOT / "docs").glob("*.md"))]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def test_the_generated_pages_are_up_to_date():
    done = subprocess.run([sys.executable, "tools/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@each_page
def test_scenarios_and_profiles_shown_are_valid(page, tmp_path):
    for text in re.findall(r"```toml\n(.*?)```", page.read_text(), re.S):
        if "[parameters]" in text:
            (tmp_path / "shown.toml").write_text(text)
            load_profile(tmp_path / "shown.toml")
            continue
        loads(text if "schema =" in text else f"schema = 1\n{text}")


@each_page
def test_commands_shown_exist(page):
    blocks = "".join(re.findall(r"```\n(.*?)```", page.read_text(), re.S))
    for line in re.findall(r"^(?:\$ )?(nvlab .*)$", blocks, re.M):
        own = line.partition("#")[0].partition(" -- ")[0].partition(" > ")[0].split()[1:]
        assert cli.parser().parse_args(own).verb, line


def test_how_to_cite_can_be_read_and_is_of_this_version():
    """What the Citation File Format 1.2.0 requires, and what GitHub shows."""
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= said.keys()
    assert said["cff-version"] == "1.2.0" and str(said["version"]) == __version__
    assert all(author.get("name") or author.get("family-names") for author in said["authors"])
    assert all({"type", "title", "authors"} <= reference.keys() for reference in said["references"])

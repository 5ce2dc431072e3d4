"""What the documentation says is so: its configurations, its counters, its links."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.config import Limits
from proxy.fixed import KEYS, SERVICES, TABLES
from proxy.page import NAMES
from sipcore.stack.record import ENDS, REFER_STATES
from tests.certificates import Authority

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [pytest.param(block, id=f"{page.name}-{index}") for page in PAGES
          for index, block in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))]


@pytest.mark.parametrize("block", BLOCKS)
def test_configurations_are_good(block, tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(block)
    for name in re.findall(r'^\w*(?:key|token|secret)_file = "(.+)"', block, re.MULTILINE):
        (tmp_path / name).write_text("s" * 64)
    for name in re.findall(r'^users_file = "(.+)"', block, re.MULTILINE):
        (tmp_path / name).write_text("ann:{PLAIN}secret\n")
    for name in re.findall(r'^certificate = "(.+)\.pem"', block, re.MULTILINE):
        Authority(tmp_path).give(name, "DNS:edge.example.com")
    secrets = dict.fromkeys(re.findall(r'^\w*(?:key|token|secret)_env = "(.+)"', block, re.MULTILINE), "s" * 64)
    found = subprocess.run([sys.executable, "-m", "proxy", "check", "-c", str(file)], capture_output=True, text=True,
                           cwd=ROOT, timeout=120, check=False, env=os.environ | secrets)
    assert (found.stderr, found.returncode) == ("", 0)
    assert found.stdout.endswith(f"{file}: good\n")


def test_there_are_configurations():
    assert len(BLOCKS) >= 3


def test_the_table_of_counters_is_complete():
    text = (ROOT / "docs" / "operations.md").read_text().partition("\n## Counters\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(NAMES)


def test_the_outcomes_are_complete():
    operations, transfers = ((ROOT / "docs" / name).read_text() for name in ("operations.md", "transfers.md"))
    ended = next(line for line in operations.splitlines() if line.startswith("| `ended`"))
    assert set(re.findall(r"`(\w+)`", ended)) - {"ended"} == set(ENDS) - {"open"}
    outcomes = transfers.partition("## How it ended")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", outcomes, re.MULTILINE)) < set(REFER_STATES)


def test_keys_that_the_pages_name_exist():
    text = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"`limits\.(\w+)`", text)) <= set(Limits.__struct_fields__)


def test_what_needs_a_restart_is_complete():
    text = (ROOT / "docs" / "operations.md").read_text().partition("Some things need a restart.")[2]
    fixed = [*TABLES.values(), "[[media]]", *(".".join(one) for one in (*KEYS, *SERVICES))]
    assert sorted(re.findall(r"`([^`]+)`", text.partition("New media addresses")[0])) == sorted(fixed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target

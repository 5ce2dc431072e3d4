"""What the machine has to say about media addresses, their ports, and open files."""
import resource
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from proxy.cli import cli
from proxy.config import Config, ConfigError, Media, Relay
from proxy.load import load
from proxy.machine import allow_files, ready_pairs, remarks, strangers, streams_allowed

TEXT = """\
[[listener]]
name = "lan"
bind = "udp:127.0.0.1:5060"
[[media]]
name = "local"
bind = "{bind}"
"""


def config(*media: Media, sessions: int = 0, ready: int = 256) -> Config:
    return Config(media=media, relay=Relay(sessions=sessions, ready=ready))


def test_an_address_of_another_machine_is_named_with_its_line(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(TEXT.format(bind="192.0.2.77"))
    assert load(file).media[0].bind == "192.0.2.77"
    with pytest.raises(ConfigError) as caught:
        load(file, here=True)
    assert str(caught.value) == (
        f'{file}:6: media[0].bind: "192.0.2.77" cannot be bound on this machine (Cannot assign requested address); '
        "expected the address of an interface that is up")
    file.write_text(TEXT.format(bind="127.0.0.1"))
    assert load(file, here=True).media


def test_every_address_is_tried():
    found = strangers(config(*(Media(name=host, bind=host) for host in ("127.0.0.1", "192.0.2.77", "2001:db8::77"))))
    assert [problem.path for problem in found] == [("media", 1, "bind"), ("media", 2, "bind")]


@pytest.mark.parametrize(("ports", "given", "reserved", "warned"), [
    ("16384-32767", "32768\t60999", "", False),
    ("16384-32769", "32768\t60999", "", True),
    ("40000-40099", "32768\t60999", "", True),
    ("61000-61099", "32768\t60999", "", False),
    ("40000-40099", "32768\t60999", "8080,40000-40099", False),
    ("40000-40099", "32768\t60999", "40000-40098", True),
])
def test_ports_that_the_system_gives_to_others(tmp_path, ports, given, reserved, warned):
    (tmp_path / "ip_local_port_range").write_text(f"{given}\n")
    (tmp_path / "ip_local_reserved_ports").write_text(f"{reserved}\n")
    found = remarks(config(Media(name="local", bind="127.0.0.1", ports=ports)), tmp_path)
    assert bool(found) is warned
    if warned:
        assert f'media "local": ports {ports} overlap with 32768-60999' in found[0]
        assert f"sysctl -w net.ipv4.ip_local_reserved_ports={ports}" in found[0]


def test_without_proc_nothing_is_said(tmp_path):
    assert remarks(config(Media(name="local", bind="127.0.0.1")), tmp_path) == []


def test_check_warns_and_is_good(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(TEXT.format(bind="192.0.2.77") + 'ports = "40000-40099"\n')
    found = subprocess.run([sys.executable, "-m", "proxy", "check", "-c", str(file)], capture_output=True, text=True,
                           timeout=120, check=True)
    warnings = [line for line in found.stdout.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert 'media "local": ports 40000-40099 overlap with ' in warnings[0]
    assert '"192.0.2.77" cannot be bound on this machine' in warnings[1]


def test_a_start_with_an_address_of_another_machine_starts_nothing(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(TEXT.format(bind="192.0.2.77"))
    found = subprocess.run([sys.executable, "-m", "proxy", "run", "-c", str(file)], capture_output=True, text=True,
                           timeout=120, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f'{file}:6: media[0].bind: "192.0.2.77" cannot be bound on this machine')


@pytest.fixture
def limits(monkeypatch):
    """The limits of open files that stand: (soft, hard). Only the hard one bounds the soft one."""
    held = [(1024, 4096)]

    def change(_, new):
        if new[1] > held[0][1]:
            raise ValueError("not allowed to raise maximum limit")
        held[0] = new

    monkeypatch.setattr(resource, "getrlimit", lambda _: held[0])
    monkeypatch.setattr(resource, "setrlimit", change)
    return held


LOCAL = Media(name="local", bind="127.0.0.1")


def test_open_files_are_allowed_as_far_as_they_are_needed(limits):
    assert allow_files(config(LOCAL, sessions=500)) == ""
    assert limits == [(256 + 500 * 4 + 256 * 2, 4096)]
    assert allow_files(config(LOCAL, sessions=400)) == ""
    assert limits == [(256 + 500 * 4 + 256 * 2, 4096)], "never lowered"


def test_too_few_open_files_are_told_with_what_that_means(limits):
    said = allow_files(config(LOCAL, sessions=2000))
    assert limits == [(4096, 4096)]
    assert said.startswith("2000 audio streams and the ports kept ready take 8768 open files, and the limit is 4096: "
                           "more than 832 streams")


def test_ports_kept_ready_leave_at_least_half_of_the_files(limits):
    assert ready_pairs(config(LOCAL, ready=30000)) == (4096 - 256) // 4
    assert streams_allowed(config(LOCAL, ready=30000)) == (4096 - 256) // 2 // 4
    assert ready_pairs(config(LOCAL, ready=0)) == 0


def test_check_says_what_the_open_files_leave_room_for(limits, tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(TEXT.format(bind="127.0.0.1") + "[relay]\nsessions = 2000\n")
    found = CliRunner().invoke(cli, ["check", "-c", str(file)])
    assert found.exit_code == 0
    assert "warning: 2000 audio streams and the ports kept ready take 8768 open files, and the limit" in found.output
    file.write_text(TEXT.format(bind="127.0.0.1") + "[relay]\nsessions = 500\n")
    assert "open files" not in CliRunner().invoke(cli, ["check", "-c", str(file)]).output


def test_without_media_nothing_is_changed(limits):
    assert allow_files(config()) == ""
    assert limits == [(1024, 4096)]

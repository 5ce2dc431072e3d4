"""Which of several edges the commands ask, and what the command line says of itself."""
import json
from importlib import metadata

from .edge import NETWORK, RunningEdge, run_edge


def test_two_edges_on_one_port_of_two_addresses_do_not_meet(tmp_path):
    with RunningEdge(tmp_path) as edge:
        other = f"udp:{NETWORK}.9:{edge.address[1]}"
        with RunningEdge(tmp_path, arguments=("--listen", other)) as second:
            second.file.write_text(edge.text)
            younger = uptime(edge, "--listen", other)
            assert uptime(edge) > younger
        assert edge.statistics()["workers"] == 1


def test_two_edges_on_one_port_by_two_transports_need_two_folders(tmp_path):
    with RunningEdge(tmp_path) as edge:
        other = f"tcp:{NETWORK}.1:{edge.address[1]}"
        file = tmp_path / "second.toml"
        file.write_text(by_tcp(edge))
        second = run_edge("run", "-c", str(file), "--listen", other)
        assert (second.returncode, second.stdout) == (1, "")
        (path,) = tmp_path.glob("control-*.sock")
        assert second.stderr == (f"{file}: another edge at this address and port runs with {path}: give each "
                                 "one a process.directory of its own\n")
        assert edge.statistics()["workers"] == 1
        edge.process.kill()
        edge.process.wait()
        assert path.exists()
        # What is left of an edge that was killed is in nobody's way.
        third = RunningEdge(tmp_path, arguments=("--listen", other))
        third.file.write_text(by_tcp(third))
        with third:
            assert third.command("stats", "--listen", other)


def by_tcp(edge: RunningEdge) -> str:
    """Its configuration with targets that a listener of TCP reaches."""
    return edge.text.replace("targets = [{ address", 'targets = [{ transport = "tcp", address')


def uptime(edge: RunningEdge, *options: str) -> float:
    return float(json.loads(edge.command("stats", "--json", *options))["uptime"])


def test_version_and_help():
    assert run_edge("--version").stdout == f"sipedge {metadata.version('sipedge')}\n"
    for arguments in (("-h",), ("run", "-h")):
        assert "Usage:" in run_edge(*arguments).stdout

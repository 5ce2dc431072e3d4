"""The proxies that are measured: how each is started on one core, known to be ready, and stopped."""
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from benchmarks import load

ROOT = Path(__file__).resolve().parents[1]
SEAT = "benchmarks/seats/signalling.toml"
EDGE = f"sipedge run --config {SEAT} --listen {{transport}}:{{listen}}"
EDGE_TLS = "sipedge run --config {folder}/seat.toml"
# The same load through two legs of the edge's own.
CONTROLLED = "sipedge run --config benchmarks/seats/b2b.toml --listen udp:{listen}"
# -DD: in the foreground; tlsf: its fastest allocator; {folder} takes its control socket.
KAMAILIO = (
    "kamailio -f benchmarks/peers/kamailio.cfg -DD -E -x tlsf -X tlsf -m 2048 -M 16 -l {transport}:{listen} -Y {folder}"
)
KAMAILIO_TCP = KAMAILIO + " -A STREAMS"
KAMAILIO_TLS = KAMAILIO_TCP + """ -A TLS -A 'CERTIFICATE="{certificate}"' -A 'KEY="{key}"'"""
EDGES = {"udp": EDGE, "tcp": EDGE, "tls": EDGE_TLS}
PEERS = {"udp": KAMAILIO, "tcp": KAMAILIO_TCP, "tls": KAMAILIO_TLS}
_READY_SECONDS = 60.0
_STOP_SECONDS = 60.0  # the edge itself waits 10 s for what is under way, and holds its port so long


class Failure(Exception):
    """A subject could not be measured."""


class Subject(msgspec.Struct, frozen=True):
    """A proxy: its name in tables, and its command with what is to be filled in.

    {transport} and {listen} (host:port), {folder} (an empty one, over TLS with the edge's seat.toml), {certificate}
    and {key}.
    """

    name: str
    command: str

    @property
    def program(self) -> str | None:
        """The path of the command's program (beside the running Python first), None if it is not installed."""
        name = shlex.split(self.command)[0]
        beside = Path(sys.executable).parent / name
        return str(beside) if beside.is_file() else shutil.which(name)


def cores() -> tuple[int, int]:
    """Return the core of the proxy and that of the load generator: one and the same on a machine that has only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def running(subject: Subject, core: int, listen: str, plan: load.Plan) -> Iterator[int]:
    """Start a subject on one core, wait until it carries a call of `plan`, yield its pid, and stop it at the end.

    Failure, with the end of its log, if it does not start or dies.
    """
    if (program := subject.program) is None:
        raise Failure(f"{subject.name}: {shlex.split(subject.command)[0]} is not installed")
    own = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, open(f"{folder}/log", "w+") as log:
        if plan.transport == "tls":
            Path(folder, "seat.toml").write_text(tls_seat(listen, plan))
        arguments = shlex.split(subject.command.format(
            transport=plan.transport, listen=listen, folder=folder, certificate=plan.certificate, key=plan.key
        ))  # fmt: skip
        os.sched_setaffinity(0, {core})  # inherited
        try:
            process = subprocess.Popen([program, *arguments[1:]], cwd=ROOT, stdout=log, stderr=log,
                                       start_new_session=True)
        finally:
            os.sched_setaffinity(0, own)
        try:
            _await(subject, process, plan, Path(log.name))
            yield process.pid
            if process.poll() is not None:
                raise Failure(f"{subject.name} died during the run:\n{_end(Path(log.name))}")
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            # What is left of its processes would hold its port: those of Kamailio can wait for one another.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def tls_seat(listen: str, plan: load.Plan) -> str:
    """The edge's seat with a listener for TLS in the place of its own."""
    _, _, rest = (ROOT / SEAT).read_text().partition("[[group]]")
    return (f'[[listener]]\nname = "bench"\nbind = "tls:{listen}"\ntls = ["bench"]\n[[tls]]\nname = "bench"\n'
            f'certificate = "{plan.certificate}"\nkey = "{plan.key}"\nca = "{plan.ca}"\n[[group]]{rest}')


def _await(subject: Subject, process: subprocess.Popen[bytes], plan: load.Plan, log: Path) -> None:
    """Place single calls, each given up after a third of a second, until one is completed."""
    probe = msgspec.structs.replace(plan, rate=0.0, window=1, calls=1, duration=0.0, t1=0.005)
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            report = load.run(probe)
        except ConnectionError:
            time.sleep(0.02)
            continue
        if report.uac and report.uac.ok:
            return
    raise Failure(f"{subject.name} carried no call:\n{_end(log)}")


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])

"""Warm transfers through the HTTP API of a real edge: from the API request to the INVITE at the target.

One process is everybody else: callers, the agent, the target, and whoever asks the API. The calls are up before the
first transfer is asked for; then each call is transferred once, at a fixed rate, and the time is taken from before the
request is written to the kernel's timestamp of the INVITE. `python -m benchmarks.transfers --help` lists the options;
the default run takes about 15 s.
"""
import asyncio
import functools
import gc
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

import msgspec
import typer
import uvloop

from benchmarks import processes
from benchmarks.subjects import ROOT, Failure

CONFIGURATION = """\
[[listener]]
name = "bench"
bind = "udp:127.0.0.1:{sip}"

[[group]]
name = "load"
addresses = ["127.0.0.0/8"]
rate = 0

[[upstream]]
name = "agent"
targets = [{{ address = "127.0.0.3:{agent}" }}]

[[route]]
to = "agent"
control = true
media = "anchor"

[[media]]
name = "audio"
bind = "127.0.0.1"
ports = "20000-29999"

[[transfer]]
name = "warm"
mode = "warm"
headers = [
    {{ name = "X-Customer-Intent", value = "billing question" }},
    {{ name = "X-Account", value = "{{account}}" }},
]

[api]
bind = "127.0.0.1:{api}"

# What is timed is shown; a machine that is busy with something else is no reason to refuse a call.
[overload]
lag = 0

[process]
directory = "{folder}"
stop_timeout = 1
"""
SDP = ("v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
       "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n")
CONNECTIONS = 8
WARM_UP = 50  # transfers before those that count
CALLS_AT_ONCE = 20
START_SECONDS = 90.0
STEP_SECONDS = 60.0
BUSY = 0.05  # share of waiting above which the figures say more about the machine
TIMESTAMP = 35  # SO_TIMESTAMPNS, the same number as the control message's


class Sip:
    """A port with a SIP name, which answers whatever comes: requests with 200, 2xx to its INVITE with an ACK.

    invites: the kernel's time (ns) of each INVITE that came, by the user part of its request URI.
    """

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.host = host
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, TIMESTAMP, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind((host, 0))
        self.port: int = self.socket.getsockname()[1]
        self.invites: dict[str, int] = {}
        self.answered = 0
        self.told = asyncio.Event()
        self._body = SDP.format(host=host)
        self._contact = f"Contact: <sip:{name}@{host}:{self.port}>\r\n"

    def attend(self) -> None:
        """Answer from now on, on the running loop."""
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._on_readable)

    def invite(self, edge: int, number: int) -> None:
        self.socket.sendto(self._request("INVITE", f"sip:agent@127.0.0.1:{edge}", f"<sip:agent@127.0.0.1:{edge}>",
                                         f"call-{number}", self._body), ("127.0.0.1", edge))

    def has_answers(self, count: int) -> bool:
        return self.answered == count

    def _request(self, method: str, uri: str, to: str, call_id: str, body: str = "") -> bytes:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (f"{method} {uri} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK-{method}-{call_id}\r\nMax-Forwards: 70\r\n"
                f"From: <sip:{self.name}@{self.host}>;tag={call_id}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
                f"CSeq: 1 {method}\r\n{self._contact}{kind}Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def _on_readable(self) -> None:
        while True:
            try:
                data, ancillary, _, source = self.socket.recvmsg(65536, 64)
            except BlockingIOError:
                return
            seconds, nanoseconds = (int.from_bytes(ancillary[0][2][at:at + 8], sys.byteorder) for at in (0, 8))
            self._on_message(data.decode(), source, seconds * 1_000_000_000 + nanoseconds)

    def _on_message(self, text: str, source: tuple[str, int], at: int) -> None:
        first, *lines = text.partition("\r\n\r\n")[0].split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
        if first.startswith("SIP/2.0"):
            if first.startswith("SIP/2.0 2") and headers["cseq"][0].endswith("INVITE"):
                uri = headers["contact"][0].partition("<")[2].partition(">")[0]
                self.socket.sendto(self._request("ACK", uri, headers["to"][0], headers["call-id"][0]), source)
                self.answered += 1
                self.told.set()
            return
        method, uri, _ = first.split(" ")
        if method == "ACK":
            return
        if method == "INVITE":
            self.invites.setdefault(uri.partition(":")[2].partition("@")[0], at)
            self.told.set()
        to = headers["to"][0]
        answer = ["SIP/2.0 200 OK", *(f"Via: {via}" for via in headers["via"]), f"From: {headers['from'][0]}",
                  f"To: {to}" if ";tag=" in to else f"To: {to};tag={self.name}", f"Call-ID: {headers['call-id'][0]}",
                  f"CSeq: {headers['cseq'][0]}"]
        body = self._body if method == "INVITE" else ""
        kind = f"{self._contact}Content-Type: application/sdp\r\n" if body else ""
        self.socket.sendto(("\r\n".join(answer) + f"\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}").encode(),
                           source)


class Http(asyncio.Protocol):
    """One connection to the API, kept; one request at a time."""

    def __init__(self) -> None:
        self._got = b""
        self._done: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if end and len(body) >= int(fields[b"content-length"]) and self._done is not None:
            self._got = b""
            self._done.set_result((int(head.split(b" ", 2)[1]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error or ConnectionError("the API closed the connection"))

    async def ask(self, method: str, path: str, body: bytes = b"",
                  seconds: float = STEP_SECONDS) -> tuple[int, bytes]:
        """Status and body. Failure where they do not come in that time."""
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        try:
            return await asyncio.wait_for(self._done, seconds)
        except TimeoutError:
            raise Failure(f"not within {seconds:g} s: an answer to {method} {path}") from None


async def _until(told: asyncio.Event, what: str, done: Callable[[], bool]) -> None:
    """Wait for what SIP brings; told is set whenever something came. Failure where it does not come."""
    try:
        async with asyncio.timeout(STEP_SECONDS):
            while not done():
                told.clear()
                await told.wait()
    except TimeoutError:
        raise Failure(f"not within {STEP_SECONDS:g} s: {what}") from None


class Result(msgspec.Struct, frozen=True):
    """invite: us from before each request is written to the INVITE at the target; reply: to the API's answer. cpu: ms
    of each process for a transfer; waited: the share of the time that the processes were ready and had no core."""

    invite: list[float]
    reply: list[float]
    cpu: dict[str, float]
    waited: float


class Run:
    """transfers: how many count; rate: of them a second."""

    def __init__(self, transfers: int, rate: float) -> None:
        self.count = transfers + WARM_UP
        self.rate = rate

    def measure(self) -> Result:
        """Start an edge, have the calls answered, transfer each, stop the edge. Failure where that goes wrong."""
        peers = [Sip(name, f"127.0.0.{number}") for name, number in (("caller", 2), ("agent", 3), ("target", 4))]
        sip, api = _free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_STREAM)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, open(f"{folder}/log", "w+") as log:
            file = Path(folder) / "edge.toml"
            file.write_text(CONFIGURATION.format(sip=sip, api=api, agent=peers[1].port, folder=folder))
            edge = subprocess.Popen([sys.executable, "-m", "proxy", "run", "--config", str(file)], cwd=ROOT,
                                    stdout=log, stderr=log)
            try:
                return uvloop.run(self._play(edge, sip, api, *peers))
            except* (Failure, OSError, TimeoutError) as group:
                end = "\n".join(Path(log.name).read_text(errors="replace").splitlines()[-15:])
                raise Failure(f"{group.exceptions[0]}\n{end}") from None
            finally:
                edge.terminate()
                edge.wait(STEP_SECONDS)
                for one in peers:
                    one.socket.close()

    async def _play(self, edge: "subprocess.Popen[bytes]", sip: int, api: int, caller: Sip, agent: Sip,
                    target: Sip) -> Result:
        for one in (caller, agent, target):
            one.attend()
        connections = await self._connect(edge, api)
        await self._call(caller, sip)
        return await self._transfer(edge.pid, connections, target)

    async def _connect(self, edge: "subprocess.Popen[bytes]", api: int) -> list[Http]:
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + START_SECONDS
        while edge.poll() is None and time.monotonic() < deadline:
            # The supervisor has bound the port: a request waits for the process that serves it.
            try:
                found = [(await loop.create_connection(Http, "127.0.0.1", api))[1] for _ in range(CONNECTIONS)]
            except ConnectionError:
                await asyncio.sleep(0.1)
                continue
            while time.monotonic() < deadline:
                status, _ = await found[0].ask("GET", "/health/ready", seconds=deadline - time.monotonic())
                if status == 200:
                    return found
                await asyncio.sleep(0.02)
        raise Failure("the edge did not start")

    async def _call(self, caller: Sip, sip: int) -> None:
        for number in range(self.count):
            caller.invite(sip, number)
            if (number + 1) % CALLS_AT_ONCE == 0:
                await _until(caller.told, "answers", functools.partial(caller.has_answers, number + 1))
        await _until(caller.told, "answers", functools.partial(caller.has_answers, self.count))

    async def _transfer(self, edge: int, connections: list[Http], target: Sip) -> Result:
        calls: list[str] = []
        after = ""
        while len(calls) < self.count:
            _, body = await connections[0].ask("GET", f"/v1/calls?limit=500&after={after}")
            page = msgspec.json.decode(body)
            calls += [call["id"] for call in page["calls"]]
            after = page["next"]
        free: asyncio.Queue[Http] = asyncio.Queue()
        for connection in connections:
            free.put_nowait(connection)
        sent: dict[str, int] = {}
        replied: dict[str, int] = {}

        async def start(number: int) -> None:
            name = f"t{number}"
            body = msgspec.json.encode({"action": "warm", "target": f"sip:{name}@{target.host}:{target.port}",
                                        "variables": {"account": str(number)}})
            connection = await free.get()
            sent[name] = time.time_ns()
            status, body = await connection.ask("POST", f"/v1/calls/{calls[number]}/transfer", body)
            replied[name] = time.time_ns()
            free.put_nowait(connection)
            if status != 202:
                raise Failure(f"the API answered {status}: {body.decode()}")

        names = _processes(edge)
        loop = asyncio.get_running_loop()
        began = loop.time()
        before: dict[str, processes.Cpu] = {}
        started = began
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.count):
                await asyncio.sleep(began + number / self.rate - loop.time())
                if number == WARM_UP:
                    started = loop.time()
                    before = {name: processes.cpu([pid]) for name, pid in names.items()}
                tasks.create_task(start(number))
        after_ = {name: processes.cpu([pid]) for name, pid in names.items()}
        seconds = loop.time() - started
        await _until(target.told, "INVITEs", lambda: len(target.invites) == self.count)
        counted = [f"t{number}" for number in range(WARM_UP, self.count)]
        return Result(
            [(target.invites[name] - sent[name]) / 1000 for name in counted],
            [(replied[name] - sent[name]) / 1000 for name in counted],
            {name: 1000 * (after_[name].run - before[name].run) / len(counted) for name in names},
            sum(after_[name].wait - before[name].wait for name in names) / seconds)


def _processes(edge: int) -> dict[str, int]:
    """The processes of an edge by what they are."""
    return {"supervisor": edge} | {
        "services" if b"proxy.services" in Path(f"/proc/{pid}/cmdline").read_bytes() else "worker": pid
        for pid in processes.tree(edge)[1:]}


def _free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _quantiles(values: list[float]) -> str:
    ordered = sorted(values)
    return "  ".join(f"{name} {ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000:.2f}"
                     for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("most", 1.0)))


def main(
    transfers: Annotated[int, typer.Option(min=1, max=1500)] = 1000,
    rate: Annotated[float, typer.Option(min=1, help="Transfers a second.")] = 100.0,
) -> None:
    """Measure how soon a warm transfer begins that the API is asked for. Exit status 2 where one does not."""
    # What this process allocates lives to the end: looking for garbage would only delay what it measures.
    gc.disable()
    try:
        result = Run(transfers, rate).measure()
    except Failure as error:
        print(f"transfers: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"{transfers} warm transfers, {rate:g}/s, ms:")
    print(f"  API request to INVITE at the target  {_quantiles(result.invite)}")
    print(f"  API request to its answer            {_quantiles(result.reply)}")
    print(f"  CPU for a transfer                   "
          f"{'  '.join(f'{name} {ms:.2f}' for name, ms in result.cpu.items())}")
    if result.waited > BUSY:
        print(f"The machine was busy: the edge waited for a core {result.waited:.0%} of the time.")


if __name__ == "__main__":
    typer.run(main)

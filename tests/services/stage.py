"""A services process of its own, and a stand-in for the worker at the other end of its link."""
import asyncio
import json
import os
import queue as queue_module
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from proxy.config import Config, decode
from proxy.events import (
    Call,
    CancelTransfer,
    Command,
    Event,
    HangUp,
    Leg,
    ListCalls,
    ListRegistrations,
    ListUpstreams,
    Record,
    Registration,
    Reply,
    SavedActions,
    SetVariables,
    ShowCall,
    ShowTransfer,
    StartTransfer,
    TargetState,
    Transfer,
    new_id,
)
from proxy.messages import (
    Attach,
    Configure,
    Configured,
    Message,
    Operate,
    Reload,
    Reloaded,
    StartServices,
    Stop,
    UseEntries,
    memory_file,
    read_memory_file,
    receive,
    send,
)
from proxy.page import Page
from proxy.policy.entries import Entry
from proxy.services_link import ServicesLink
from tests.api import http_client

ROOT = Path(__file__).parents[2]
WAIT = 60.0
START = 120.0
"""Seconds that a services process gets to start: it takes 3 s of CPU where nothing is cached."""
BASE = """\
[[listener]]
name = "local"
bind = "udp:127.0.0.1:5060"

[[group]]
name = "phones"
addresses = ["127.0.0.0/8"]

[[upstream]]
name = "pbx"
targets = [{ address = "127.0.0.3:5060" }]

[[route]]
to = "pbx"
control = true
media = "anchor"

[[media]]
name = "local"
bind = "127.0.0.1"
ports = "40000-40099"

[[transfer]]
name = "desk"
mode = "blind"
targets = ["sip:2001@127.0.0.3"]

[api]
bind = "127.0.0.1:8080"

# A machine that is busy with something else makes the worker's stand-in wait.
[services]
reply_timeout = 60

[log]
format = "json"
"""


def a_call(worker: int = 0, **more: Any) -> Call:
    found: dict[str, Any] = {
        "id": new_id(worker), "state": "up", "began": time.time_ns() // 1_000_000, "caller": "sip:alice@127.0.0.2",
        "called": "sip:agent@127.0.0.1",
        "legs": [Leg(role="caller", uri="sip:alice@127.0.0.2", address="127.0.0.2:5060", sip_call_id="abc",
                     state="up")]}
    return Call(**found | more)


def a_transfer(call: str, **more: Any) -> Transfer:
    found: dict[str, Any] = {"id": new_id(0), "call": call, "action": "desk", "mode": "blind", "started_by": "api",
                             "state": "preparing", "began": time.time_ns() // 1_000_000}
    return Transfer(**found | more)


class StandIn:
    """What a worker does with commands, as plain as can be."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.transfers: dict[str, Transfer] = {}
        self.saved: list[bytes] = []
        self.bans: dict[str, int] = {}
        self.hung = False
        self.told: list[Command] = []

    def operate(self, asked: Operate) -> dict[str, Any]:
        if asked.what == "bans":
            return {"bans": [{"address": host, "until": 5, "seconds": seconds, "count": 0}
                             for host, seconds in self.bans.items()]}
        found = asked.address in self.bans or asked.address == "127.0.0.3:5060"
        if asked.what == "ban":
            self.bans[asked.address] = asked.seconds
        elif asked.what == "unban":
            found = self.bans.pop(asked.address, None) is not None
        return {"found": found}

    def obey(self, command: Command) -> Reply:
        if not isinstance(command, SavedActions):  # which comes by itself, after the start at some time
            self.told.append(command)
        while self.hung:
            time.sleep(0.01)
        if isinstance(command, ListCalls):
            calls = sorted(self.calls.values(), key=lambda call: (call.began, call.id))
            if command.after:
                last = self.calls.get(command.after)
                calls = [call for call in calls if last and (call.began, call.id) > (last.began, last.id)]
            return Reply(ask=0, calls=calls[:command.limit], more=len(calls) > command.limit)
        if isinstance(command, ListUpstreams):
            return Reply(ask=0, upstreams={"pbx": len(self.calls)}, targets=[TargetState(
                upstream="pbx", address="127.0.0.3:5060", state="degraded", since=5, share=0.5, calls=1, failures=2,
                last_failure="no answer")])
        if isinstance(command, ListRegistrations):
            return Reply(ask=0, registrations=[
                Registration(aor="sip:edge@trunk.example", upstream="pbx", state="registered", status=200)])
        if isinstance(command, SavedActions):
            self.saved = command.actions
            return Reply(ask=0)
        if isinstance(command, ShowTransfer | CancelTransfer):
            transfer = self.transfers.get(command.transfer)
            if transfer is None:
                return Reply(ask=0, status=404, error="no such transfer")
            return Reply(ask=0, transfers=[transfer])
        call = self.calls.get(command.call)
        if call is None:
            return Reply(ask=0, status=404, error="no such call")
        if isinstance(command, HangUp):
            del self.calls[call.id]
        elif isinstance(command, SetVariables):
            call.variables |= {name: value for name, value in command.variables.items() if value is not None}
            for name in [name for name, value in command.variables.items() if value is None]:
                call.variables.pop(name, None)
        elif isinstance(command, StartTransfer):
            if call.transfer:
                return Reply(ask=0, status=409, error="a transfer of this call runs already")
            if "bad" in command.variables:
                return Reply(ask=0, status=422, error="no such variable", field="variables.bad")
            transfer = a_transfer(call.id)
            call.transfer = transfer.id
            self.transfers[transfer.id] = transfer
            return Reply(ask=0, status=202, transfers=[transfer])
        elif isinstance(command, ShowCall):
            return Reply(ask=0, calls=[call], transfers=[
                one for one in self.transfers.values() if one.call == call.id])
        return Reply(ask=0, calls=[call])


class Stage:
    """Use it as a context manager. more: added to the configuration; tables of BASE can be replaced by `swap`."""

    def __init__(self, folder: Path, more: str = "", swap: tuple[tuple[str, str], ...] = (), queue: int = 10_000,
                 environment: dict[str, str] | None = None):
        self.folder = folder
        self.more = more
        self.swap = swap
        self.environment = environment or {}
        self.stand_in = StandIn()
        self.queue = queue
        self.log: list[dict[str, Any]] = []
        self.process: subprocess.Popen[str] | None = None
        self.reload_error = ""
        self.page = Page()
        self.entries: list[Entry] = []
        self.operated: list[Operate] = []
        self.silent = False

    def config(self) -> Config:
        text = BASE + self.more
        for old, new in self.swap:
            assert old in text
            text = text.replace(old, new)
        return decode(text, lambda _: [], file=str(self.folder / "edge.toml"))

    def __enter__(self) -> "Stage":
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.http = http_client(self.url)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run_loop)
        self.thread.start()
        self.link = self.on_loop(lambda: ServicesLink(self._obey, queue=self.queue))
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.on_loop_async(self.link.finish(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.http.close()
        self.listener.close()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _obey(self, command: Command) -> Reply:
        return self.stand_in.obey(command)

    # --- the process

    def start(self) -> None:
        """Start a services process, and link the stand-in to it."""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(WAIT)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy.services", str(theirs.fileno())], pass_fds=(theirs.fileno(),), cwd=ROOT,
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | self.environment)
        self.reader = threading.Thread(target=self._read, args=(self.process,))
        self.reader.start()
        self._send(StartServices(0, str(self.folder), "test"), self._configuration(),
                   os.dup(self.page.descriptor), os.dup(self.listener.fileno()))
        self.attach()
        self.answered: queue_module.Queue[Message] = queue_module.Queue()
        self.control_reader = threading.Thread(target=self._answer, args=(self.control,))
        self.control_reader.start()
        self.until(lambda: not self.answered.empty() or self.process is None or self.process.poll() is not None, START)
        assert self.process.poll() is None, self.log[-5:]
        self.answered.get()
        self.until(self.ready, START)

    def ready(self) -> bool:
        return self.http.get("/health/ready").status_code == 200

    def attach(self) -> None:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.on_loop(lambda: self.link.attach(one))
        self._send(Attach(0), other.detach())

    def configure(self) -> Configured:
        self._send(Configure(1), self._configuration())
        answer = self.answered.get(timeout=WAIT)
        assert isinstance(answer, Configured)
        return answer

    def _configuration(self) -> int:
        return memory_file("configuration", msgspec.msgpack.encode(self.config()))

    def _send(self, message: Message, *descriptors: int) -> None:
        send(self.control, message, list(descriptors))
        for descriptor in descriptors:
            os.close(descriptor)

    def _answer(self, control: socket.socket) -> None:
        """What the supervisor does: here, say that a reload went well or not."""
        control.settimeout(None)
        while True:
            try:
                message, descriptors = receive(control)
            except OSError:
                return
            if message is None:
                return
            if isinstance(message, Reload | UseEntries):
                for descriptor in descriptors:
                    self.entries = msgspec.msgpack.decode(read_memory_file(descriptor), type=list[Entry])
                send(control, Reloaded(message.ask, 7, self.reload_error))
            elif isinstance(message, Operate):
                self.operated.append(message)
                with socket.socket(fileno=descriptors[0]) as asker:
                    if self.silent:
                        continue
                    asker.sendall(json.dumps(self.stand_in.operate(message)).encode() + b"\n")
            else:
                self.answered.put(message)

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"event": "no JSON", "text": line})
        process.stderr.close()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(WAIT)
            self._close_control()

    def stop(self) -> int:
        """As the supervisor stops it."""
        assert self.process is not None
        if self.process.poll() is None:
            # The worker is told first.
            self.on_loop_async(self.link.finish(10))
            with suppress(OSError):
                send(self.control, Stop(10))
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(WAIT)
            self.process.kill()
            self.process.wait(WAIT)
        self._close_control()
        return self.process.returncode

    def _close_control(self) -> None:
        with suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)
        self.control_reader.join()
        self.control.close()
        self.reader.join()

    # --- the worker

    def on_loop(self, call: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return call()

        return self.on_loop_async(run())

    def on_loop_async(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT)

    def emit(self, *said: Event | Record) -> None:
        self.on_loop(lambda: [self.link.emit(one) for one in said])

    def until(self, condition: Callable[[], Any], seconds: float = WAIT) -> Any:
        """Wait until it holds; what it returned."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"not within {seconds} s; the log: {self.log[-20:]}"
            time.sleep(0.01)
        return found

    def logged(self, event: str, seconds: float = WAIT) -> dict[str, Any]:
        """A log line with that event."""
        return dict(self.until(lambda: next((line for line in self.log if line["event"] == event), None), seconds))

"""Sessions come and go: ports, descriptors, memory, slots, queues, silence, and the end of the thread."""
import ctypes
import gc
import os
import resource
import signal
import threading
import time

import pytest

from sipcore.media.ports import PortPool
from sipcore.media.relay import CLOSED, HEARD_AGAIN, LATCHED, SILENT, TIMEOUT, MediaRelay
from tests.media.stage import (
    HOST,
    Stage,
    descriptors,
    opened,
    receiver_report,
    rtp,
    thread_is_gone,
    thread_name,
    thread_names,
    until,
)

pytestmark = pytest.mark.usefixtures("by_both")


def held() -> int:
    """Bytes of memory of this process alone; under AddressSanitizer, which keeps what is freed, those not freed."""
    allocated = getattr(ctypes.CDLL(None), "__sanitizer_get_current_allocated_bytes", None)
    if allocated is not None:
        allocated.restype = ctypes.c_size_t
        return int(allocated())
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def test_close_gives_everything_back() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        before = descriptors()
        session, where = stage.session(one, two)
        assert descriptors() == before + 4
        one.send(rtp(1), where[0])
        two.receive()
        assert stage.pools[0].used == 2
        stage.end(session)
        assert (descriptors(), stage.pools[0].used, stage.relay.open_sessions) == (before, 0, 0)
        with pytest.raises(KeyError):
            stage.relay.side_counters(session, 0)
        totals = stage.relay.totals()
        assert (totals["packets"], totals["sent"], stage.relay.opened) == (1, 1, 1)


def test_close_twice_and_commands_for_what_is_closed() -> None:
    with Stage() as stage:
        session, _ = stage.session(stage.phone("127.1.0.1"))
        stage.relay.close(session)
        stage.relay.close(session)
        stage.relay.set_aim(session, 0, rtp=("127.1.0.1", 4000))
        stage.relay.set_hearing(session, {0: [0]})
        stage.wait_for(CLOSED)
        stage.relay.close(session)
        stage.relay.close(0xFFFFFFFF)
        other, _ = stage.session(stage.phone("127.1.0.1"))
        stage.end(other)
        assert stage.events == []
        assert stage.relay.opened == 2


def test_a_number_is_given_out_again_with_nothing_of_the_last_call() -> None:
    with Stage(sessions=1) as stage:
        one, two, three, four = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3, 4))
        session, where = stage.session(one, two)
        assert stage.relay.open() == 0xFFFFFFFF
        assert stage.relay.refused == 1
        for sequence in range(50):
            one.send(rtp(sequence), where[0])
        stage.end(session)
        again, where = stage.session(three, four)
        assert again == session
        assert stage.relay.generation(again) == 2
        assert stage.relay.side_counters(again, 0)["packets"] == 0
        one.send(rtp(99), where[0])
        stage.counted(again, 0, wrong_source=1)
        three.send(rtp(1), where[0])
        assert four.receive() == rtp(1)
        stage.events += stage.relay.take_events()
        assert {event[2] for event in stage.events if event[0] == LATCHED and event[5] == three.address} == {2}


def test_close_under_fire() -> None:
    """Sessions end and begin on the same ports while these are sent to: what one call gets reaches no other."""
    with Stage(PortPool(HOST, 20000, 20003, quarantine=0, shuffled=False), sessions=1) as stage:
        gun, victim, two, three = (stage.phone(f"127.{n}.0.1") for n in (1, 2, 3, 4))
        ended = threading.Event()

        def fire() -> None:
            while not ended.is_set():
                for port in (20000, 20002):
                    gun.send(rtp(1), (HOST, port))

        thread = threading.Thread(target=fire)
        thread.start()
        try:
            for _ in range(50):
                session, _ = stage.session(gun, two)
                until(lambda: stage.relay.side_counters(0, 0)["packets"], "heard")
                stage.end(session)
                session, _ = stage.session(victim, three)
                until(lambda: stage.relay.side_counters(0, 0)["wrong_source"], "refused")
                stage.end(session)
        finally:
            ended.set()
            thread.join()
        assert not two.is_quiet()
        assert three.is_quiet()


def test_full_queue_delays_and_never_loses_a_close() -> None:
    with Stage(PortPool(HOST, 20000, 20999, quarantine=0), sessions=250, queue=2, nice=19) as stage:
        phone = stage.phone("127.1.0.1")
        for _ in range(4):
            # A bind that finds no room binds nothing.
            sessions = [stage.relay.open() for _ in range(250)]
            bound = [stage.relay.bind(session, 0, 0) > 0 for session in sessions]
            assert stage.pools[0].used == sum(bound)
            for session in sessions:
                stage.relay.set_aim(session, 0, rtp=phone.address)
                stage.relay.close(session)
            for session in sessions:
                stage.wait_for(CLOSED, session)
            assert stage.pools[0].used == stage.relay.open_sessions == 0
        assert stage.relay.commands_waited > 0


def test_events_that_nobody_takes_are_lost_but_not_a_close() -> None:
    with Stage(sessions=3, queue=16, places=0) as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        for sequence in range(80):
            stage.relay.set_aim(session, 0, rtp=one.address, moved=True)
            one.send(rtp(sequence), where[0])
            two.receive()
            stage.counted(session, 0, packets=sequence + 1)
        lost = stage.relay.totals()["events_lost"]
        assert lost > 0
        others = [stage.relay.open() for _ in range(2)]
        for each in (session, *others):
            stage.relay.close(each)
        for each in (session, *others):
            stage.wait_for(CLOSED, each)
        assert stage.relay.totals()["events_lost"] == lost


def test_silence_is_noticed_and_its_end() -> None:
    with Stage(silence_ms=500, timeout_ms=0, watch_ms=20) as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session, where = stage.session(one, two)
        stage.relay.set_aim(session, 1, rtp=two.address, sends=False)
        event = stage.wait_for(SILENT)
        assert event[1:4] + event[5:] == (session, 1, 0, one.address)
        assert event[4] >= 500
        one.send(rtp(1), where[0])
        event = stage.wait_for(HEARD_AGAIN)
        assert event[1:4] + event[5:] == (session, 1, 0, one.address)
        assert stage.wait_for(SILENT)[3] == 0
        # On hold it is expected to be silent, and afterwards has its time again.
        stage.relay.set_aim(session, 0, rtp=one.address, sends=False)
        stage.relay.set_aim(session, 0, rtp=one.address)
        assert 500 <= stage.wait_for(SILENT)[4] < 60_000
        assert all(event[0] == LATCHED for event in stage.events)


def test_timeout_only_when_everybody_is_silent() -> None:
    with Stage(silence_ms=0, timeout_ms=600, watch_ms=20) as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        session = 0

        def lives() -> bool:
            """The reports of one side are life enough, for longer than the silence of a timeout; whether they came
            without a pause, which is the machine's to say."""
            nonlocal session
            session, where = stage.session(one, two)
            began = last = time.monotonic()
            pause = 0.0
            while last < began + 0.9:
                one.control.sendto(receiver_report(), (where[0][0], where[0][1] + 1))
                two.control.recvfrom(99)
                pause, last = max(pause, time.monotonic() - last), time.monotonic()
            if pause > 0.25:
                stage.end(session)
                stage.events.clear()
                return False
            assert TIMEOUT not in [event[0] for event in stage.relay.take_events()]
            return True

        until(lives, "reports without a pause")
        event = stage.wait_for(TIMEOUT)
        assert (event[1], event[3]) == (session, 4)
        assert event[4] >= 600


def test_held_call_never_times_out() -> None:
    with Stage(silence_ms=200, timeout_ms=400, watch_ms=20) as stage:
        held, _ = stage.session(stage.phone("127.1.0.1"), stage.phone("127.2.0.1"), sends=False)
        lost, _ = stage.session(stage.phone("127.1.0.1"), stage.phone("127.2.0.1"))
        for _ in range(2):
            assert stage.wait_for(SILENT)[1] == lost
        assert stage.wait_for(TIMEOUT)[1] == lost
        assert stage.events == []
        stage.end(held)


def test_call_held_by_one_that_plays_nothing_never_times_out() -> None:
    """Who holds says sendonly (RFC 3264 8.4), and many phones send nothing all the same."""
    with Stage(silence_ms=0, timeout_ms=500, watch_ms=20) as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        # Nobody is expected to speak before it is known who holds.
        held, _ = stage.session(one, two, sends=False)
        stage.relay.set_aim(held, 0, rtp=one.address)
        for _ in range(3):
            lost, _ = stage.session(stage.phone("127.1.0.1"), stage.phone("127.2.0.1"))
            assert stage.wait_for(TIMEOUT)[1] == lost
            stage.end(lost)
        assert stage.events == []
        # It is over, and then nobody comes back.
        stage.relay.set_aim(held, 1, rtp=two.address)
        assert stage.wait_for(TIMEOUT)[1] == held


def test_stop_closes_what_is_open_and_ends_the_thread() -> None:
    before = opened()
    pool = PortPool(HOST, 20000, 20099, quarantine=0)
    relay = MediaRelay([pool], sessions=8)
    until(lambda: "sipedge-media" in thread_names(), "the thread has its name")
    for _ in range(5):
        relay.bind(relay.open(), 0, 0)
    relay.stop()
    thread_is_gone()
    assert opened() <= before
    assert (pool.used, relay.open_sessions, relay.fileno()) == (0, 0, -1)
    relay.stop()
    assert relay.open() == 0xFFFFFFFF
    assert relay.take_events() == []
    assert relay.totals()["packets"] == 0


def test_relay_that_is_forgotten_stops_too() -> None:
    before = opened()
    relay = MediaRelay([PortPool(HOST, 20000, 20099)], sessions=8)
    relay.bind(relay.open(), 0, 0)
    del relay
    gc.collect()
    assert opened() <= before
    thread_is_gone()


def test_signals_are_not_the_threads() -> None:
    with Stage() as stage:
        one, two = stage.phone("127.1.0.1"), stage.phone("127.2.0.1")
        _, where = stage.session(one, two)
        came: list[int] = []
        previous = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
        try:
            for _ in range(20):
                os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, previous)
        assert came
        one.send(rtp(1), where[0])
        assert two.receive() == rtp(1)


def test_idle_relay_sleeps() -> None:
    with Stage() as stage:
        session, _ = stage.session(stage.phone("127.1.0.1"))
        stage.end(session)
        wakeups = stage.relay.totals()["wakeups"]
        until(lambda: resource.getrusage(resource.RUSAGE_THREAD).ru_utime >= 0, "")
        assert stage.relay.totals()["wakeups"] <= wakeups + 1


@pytest.mark.parametrize("wrong", [{"sessions": 0}, {"sessions": 1 << 21}, {"queue": 0}])
def test_nonsense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not a"):
        MediaRelay([], **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "calls", [20_000, pytest.param(100_000, marks=pytest.mark.skipif("not os.environ.get('SIPEDGE_LONG')"))]
)
def test_short_calls_leave_nothing(calls: int) -> None:
    pool = PortPool(HOST, 20000, 20999, quarantine=0)
    with Stage(pool, sessions=64) as stage:
        relay, after_first = stage.relay, 0
        before: set[str] = set()
        one = stage.phone("127.1.0.1")
        for done in range(calls // 50):
            sessions = [relay.open() for _ in range(50)]
            for session in sessions:
                for side in (0, 1):
                    port = relay.bind(session, side, 0)
                    assert port > 0
                    relay.set_aim(session, side, rtp=one.address)
                relay.set_hearing(session, {0: [1], 1: [0]})
            one.send(rtp(done), (HOST, port))
            for session in sessions:
                relay.close(session)
            while relay.open_sessions:
                stage.wait_for(CLOSED)
            stage.events.clear()
            if done == calls // 100:
                before, after_first = opened(), held()
        assert opened() <= before
        assert (pool.used, pool.exhausted) == (0, 0)
        assert held() - after_first < 1 << 20
        assert relay.opened == calls


def test_the_thread_goes_first_where_it_may() -> None:
    relay = MediaRelay([], sessions=1)
    try:
        until(lambda: "sipedge-media" in thread_names(), "the thread has its name")
        allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] > 0 or os.geteuid() == 0
        if not allowed:
            pytest.skip("no real-time scheduling here")
        until(lambda: relay.totals()["realtime"], "real-time scheduling")
        thread = next(int(task) for task in os.listdir("/proc/self/task") if thread_name(task) == "sipedge-media")
        assert os.sched_getscheduler(thread) == os.SCHED_RR
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    finally:
        relay.stop()

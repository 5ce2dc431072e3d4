"""The log: levels, styles, escaping, and a reader that does not read."""
import fcntl
import json
import os

import pytest

from proxy.log import Log, Stream


@pytest.fixture
def pipe():
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(read, False)
    yield read, write
    os.close(read)
    os.close(write)


def test_json_lines_carry_what_is_bound_and_given(pipe):
    read, write = pipe
    Log("info", "json", Stream(write), worker=3).warning("policy", text='a "b"\r\nc\x1b[31m')
    text = os.read(read, 4096)
    assert text.count(b"\n") == 1
    assert b"\x1b" not in text
    line = json.loads(text)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "policy", "worker": 3, "text": 'a "b"\r\nc\x1b[31m'}


def test_console_lines_show_nothing_that_a_terminal_would_obey(pipe):
    read, write = pipe
    Log("info", "console", Stream(write)).info("message", text="a\r\n\x1b[31m\u202e", peer="192.0.2.1:5060")
    text = os.read(read, 4096).decode()
    assert text[8:] == " info    message text='a\\r\\n\\x1b[31m\\u202e' peer=192.0.2.1:5060\n"


def test_what_is_less_important_is_not_written(pipe):
    read, write = pipe
    log = Log("warning", "json", Stream(write))
    log.info("unseen")
    log.changed("debug", "json").debug("seen")
    assert json.loads(os.read(read, 4096))["event"] == "seen"


def test_a_full_pipe_loses_lines_counts_them_and_breaks_none(pipe):
    read, write = pipe
    log = Log("info", "json", Stream(write))
    for number in range(5):
        log.info("long", number=number, text="x" * 1500)
    assert log.lost >= 2
    lost, text = log.lost, os.read(read, 65536)
    log.info("after")
    assert log.lost == lost
    *whole, last = (text + os.read(read, 65536)).splitlines()
    assert json.loads(last)["event"] == "after"
    assert [json.loads(line)["number"] for line in whole if line.endswith(b"}")] == list(range(5 - lost))


def test_a_reader_that_is_gone_is_not_missed(pipe):
    read, write = pipe
    os.close(read)
    log = Log("info", "json", Stream(write))
    log.info("unseen")
    assert log.lost == 1
    os.dup2(write, read)

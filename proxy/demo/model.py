"""A stand-in for a language model: it speaks the OpenAI-compatible chat API and answers by a few rules.

It understands no language. It looks for words of the caller's, which is enough for a demo and for tests that need the
same answer each time, and it says so in its name.
"""
import re
import time
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec

NAME = "rules-not-a-language-model"
BODY_BYTES = 4 * 1024 * 1024

_NOTHING = "NONE"
_ROUTE = "/v1/chat/completions"
# Words that speak for a choice which is named by the first one.
_RELATED = {
    "claim": ("accident", "damage", "crash", "stolen", "theft", "broke", "insur"),
    "cancel": ("terminate", "leave", "quit", "stop"),
    "bill": ("charge", "invoice", "paid", "pay", "refund", "euro", "dollar"),
    "angry": ("annoy", "furious", "unacceptable", "ridiculous", "terrible", "complain"),
    "happy": ("great", "thank", "wonderful", "perfect", "lovely"),
}
_GENERAL = ("general", "other", "neutral", "none")
_CALLED = re.compile(r"(?i:\bmy name is|\bname's|\bthis is|\bi am|\bi'm)((?: [A-Z][\w'-]+){1,3})")
_CHOICES = re.compile(r"one of:?\s*(.+?)\s*\.?$", re.IGNORECASE)
_STEM = 5


class _Message(msgspec.Struct):
    role: str
    content: str


class _Chat(msgspec.Struct):
    """The part of a chat request that is read."""

    messages: list[_Message]
    model: str = ""


class _Turn(msgspec.Struct):
    speaker: str
    text: str


def answer(question: str, allowed: Iterable[str], turns: Iterable[tuple[str, str]]) -> str:
    """What the rules make of a conversation: (speaker, text) in order. allowed: choices, else those in the question."""
    said = [text for speaker, text in turns if speaker == "caller"]
    choices = list(allowed)
    if not choices and (listed := _CHOICES.search(question)):
        choices = [choice.strip() for choice in listed[1].split(",")]
    asked = question.casefold()
    name = next((found[1].strip() for text in said if (found := _CALLED.search(text))), "")
    if choices:
        return _choose(choices, said)
    if "summar" in asked:
        return _summary(name, said)
    if "name" in asked:
        return name or _NOTHING
    return _NOTHING


def _choose(choices: list[str], said: list[str]) -> str:
    words = re.findall(r"\w+", " ".join(said).casefold())
    scores = [sum(word.startswith(stem) for word in words for stem in _stems(choice)) for choice in choices]
    if max(scores) > 0:
        return choices[scores.index(max(scores))]
    return next((choice for choice in choices if choice.casefold().startswith(_GENERAL)), _NOTHING)


def _stems(choice: str) -> set[str]:
    stems = {word[:_STEM] for word in re.findall(r"\w+", choice.casefold()) if len(word) >= _STEM - 1}
    related = {word for first, words in _RELATED.items() for word in words
               if any(stem.startswith(first[:_STEM]) for stem in stems)}
    # Such words stand in every conversation with an insurance, a shop, a bank.
    return (stems | related) - {"polic", "quest", "gener", "inqui", "make"}


def _summary(name: str, said: list[str]) -> str:
    if not said:
        return _NOTHING
    words = max(said, key=len)
    return f"{name or 'The caller'} is on the line and said: {words[:300]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(HTTPStatus.OK, {"object": "list", "data": [{"id": NAME, "object": "model"}]})
        else:
            self._fail(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES:
            self.close_connection = True
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a Content-Length within bounds is needed")
            return
        body = self.rfile.read(int(length))
        if self.path != _ROUTE:
            self._fail(HTTPStatus.NOT_FOUND, "no such page")
            return
        try:
            chat = msgspec.json.decode(body, type=_Chat)
            turns = msgspec.json.decode(chat.messages[-1].content, type=list[_Turn])
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, RecursionError):
            self._fail(HTTPStatus.BAD_REQUEST, "expected a chat whose last message is a conversation as JSON")
            return
        system = "\n".join(message.content for message in chat.messages if message.role == "system")
        question = system.rpartition("Question: ")[2]
        listed = re.search(r"spelled as here: (\[.*\])$", system, re.MULTILINE)
        allowed = msgspec.json.decode(listed[1], type=list[str]) if listed else []
        self.server.asked.append(question)
        content = answer(question, allowed, ((turn.speaker, turn.text) for turn in turns))
        self._send(HTTPStatus.OK, {
            "id": f"chatcmpl-{len(self.server.asked)}", "object": "chat.completion", "created": int(time.time()),
            "model": NAME, "choices": [{"index": 0, "finish_reason": "stop",
                                        "message": {"role": "assistant", "content": content}}]})

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _send(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = msgspec.json.encode(document)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal belongs to the demo."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []


class ModelStandIn:
    """A server on loopback, in threads of its own, for as long as the context lasts.

    url: what `[model] url` wants. asked: the questions so far, in order.
    """

    def __enter__(self) -> "ModelStandIn":
        self._server = _Server()
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self.asked = self._server.asked
        return self

    def __exit__(self, *problem: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""The stand-in for a language model, as an HTTP server and as rules."""
import json
from http.client import HTTPConnection

import httpx
import pytest

from proxy.demo.model import NAME, ModelStandIn, answer

TALK = [("agent", "Good morning, this is Ada, how can I help?"), ("caller", "Hello, I'm Zoë O'Neil from Leeds."),
        ("caller", "Somebody broke my window and I would like to talk to a person about the damage.")]


@pytest.fixture
def client():
    with ModelStandIn() as model, httpx.Client(base_url=model.url, trust_env=False) as client:
        yield client


def chat(*messages: tuple[str, str]) -> dict:
    return {"model": NAME, "messages": [{"role": role, "content": content} for role, content in messages]}


def test_it_speaks_the_chat_api_under_an_honest_name(client):
    talk = json.dumps([{"speaker": speaker, "text": text} for speaker, text in TALK])
    completion = client.post("/chat/completions", json=chat(("system", "Question: name?"), ("user", talk))).json()
    assert (completion["object"], completion["model"]) == ("chat.completion", "rules-not-a-language-model")
    assert completion["choices"][0]["message"] == {"role": "assistant", "content": "Zoë O'Neil"}
    assert [model["id"] for model in client.get("/models").json()["data"]] == [NAME]


@pytest.mark.parametrize("document", [
    {}, {"messages": []}, [], chat(("user", "hello")), chat(("user", "[" * 5000)), {"messages": [{"role": "user"}]},
])
def test_what_is_no_conversation_is_refused(client, document):
    refused = client.post("/chat/completions", json=document)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_other_pages_and_other_sizes_are_refused(client):
    assert client.get("/chat/completions").status_code == 404
    assert client.post("/embeddings", json={}).status_code == 404
    for length in ("-1", "99999999999", "x", ""):
        connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()
    assert client.get("/models").status_code == 200


@pytest.mark.parametrize(("question", "allowed", "expected"), [
    ("What is the caller's name?", [], "Zoë O'Neil"),
    ("Which is it?", ["cancel policy", "make a claim"], "make a claim"),
    ("Which is it, one of: cancel policy, make a claim.", [], "make a claim"),
    ("Which is it?", ["billing", "other"], "other"),
    ("Which is it?", ["billing", "cancel"], "NONE"),
    ("Where does he live?", [], "NONE"),
])
def test_rules(question, allowed, expected):
    assert answer(question, allowed, TALK) == expected


def test_only_what_the_caller_says_counts():
    assert answer("What is the caller's name?", [], [("agent", "My name is Ada Lovelace.")]) == "NONE"
    assert answer("Summarise.", [], [("agent", "Hello?")]) == "NONE"
    summary = answer("Summarise.", [], [("caller", "help me please")])
    assert summary == "The caller is on the line and said: help me please"

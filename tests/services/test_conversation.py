"""Conversations: the latest turns of each call, never more than was agreed on."""
from proxy.services.conversation import Conversations, Turn


def turn(text: str) -> Turn:
    return Turn("caller", text)


def texts(conversations: Conversations, call: str, most: int = 100) -> list[str]:
    return [turn.text for turn in conversations.turns(call, most)]


def test_turns_come_in_order_the_latest_ones():
    conversations = Conversations(10_000)
    conversations.add("a", [turn("1"), Turn("agent", "2", 5)])
    conversations.add("b", [turn("other")])
    conversations.add("a", [turn("3")])
    assert conversations.turns("a", 2) == [Turn("agent", "2", 5), turn("3")]
    assert texts(conversations, "a") == ["1", "2", "3"]
    assert texts(conversations, "c") == []


def test_a_long_conversation_loses_its_beginning():
    conversations = Conversations(3000)
    conversations.add("a", (turn(f"{number:03} " + "x" * 96) for number in range(50)))
    kept = texts(conversations, "a")
    assert [text[:3] for text in kept] == [f"{number:03}" for number in range(40, 50)]


def test_a_turn_that_is_too_long_loses_its_end_between_characters():
    conversations = Conversations(1000)
    conversations.add("a", [turn("é" * 10_000)])
    (text,) = texts(conversations, "a")
    assert text == "é" * 400


def test_empty_turns_are_bounded_too():
    conversations = Conversations(3000)
    conversations.add("a", (turn("") for _ in range(100_000)))
    assert len(texts(conversations, "a", 100_000)) == 15


def test_nothing_is_kept_where_nothing_may_be():
    conversations = Conversations(0)
    conversations.add("a", [turn("x")])
    assert texts(conversations, "a") == []
    assert len(conversations) == 0


def test_all_conversations_together_are_bounded_and_the_quietest_goes():
    conversations = Conversations(1000, all_bytes=2800)
    for call in "abc":
        conversations.add(call, [turn("x" * 700)])
    conversations.add("a", [turn("again")])
    conversations.add("d", [turn("x" * 700)])
    assert texts(conversations, "b") == []
    assert texts(conversations, "a")[-1] == "again"
    assert len(conversations) == 3
    for call in "abcd":
        conversations.forget(call)
    conversations.forget("never there")
    assert len(conversations) == 0
    conversations.add("e", [turn("x" * 700)] * 2)
    assert len(texts(conversations, "e")) == 1

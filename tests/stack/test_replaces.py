"""Replaces (RFC 3891): reading it, and finding the leg that it names (section 7 row 20 of the requirement)."""
from dataclasses import replace

import pytest

from sipcore.base.errors import MalformedMessage
from sipcore.stack.replaces import Replaces, parse, toward
from tests.stack.legs import BOB, Scene


def test_a_value_is_read_and_rendered():
    value = "425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only"
    replaces = parse(value)
    assert replaces == Replaces("425928@bobster.example.org", "7743", "6472", True)
    assert replaces.render() == value
    assert parse("a ; FROM-TAG = 2;x=y; to-tag=1") == Replaces("a", "1", "2")


@pytest.mark.parametrize("value", ["", "a", "a;to-tag=1", "a;to-tag=1;from-tag=", ";to-tag=1;from-tag=2",
                                   "a;to-tag=1;from-tag=2;to-tag=3"])
def test_what_is_none(value):
    with pytest.raises(MalformedMessage):
        parse(value)


def test_each_end_finds_the_leg_by_what_the_other_one_knows_it_by():
    scene = Scene()
    ours, theirs = scene.up()
    assert toward(ours).find(scene.bob.agent) == theirs
    assert toward(theirs).find(scene.ann.agent) == ours
    assert toward(ours).find(scene.ann.agent) is None
    assert Replaces(ours.dialog.call_id, "other", "tags").find(scene.ann.agent) is None
    early_only = replace(toward(ours), early_only=True)
    assert early_only.find(scene.bob.agent) is None
    ours.bye()
    scene.run()
    assert toward(ours).find(scene.bob.agent) is None
    with pytest.raises(ValueError, match="no dialog"):
        toward(scene.ann.call(("192.0.2.77", 5060)))


def test_only_the_caller_can_be_replaced_while_it_rings():
    scene = Scene()
    ours = scene.ann.call(BOB)
    scene.run()
    scene.bob.leg.ring()
    scene.run()
    assert toward(ours).find(scene.bob.agent) is None
    assert toward(scene.bob.leg).find(scene.ann.agent) == ours

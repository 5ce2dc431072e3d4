"""transfers.md sections 1, 3 and 5: what is refused when an action is configured, the same way from every side."""
import msgspec
import pytest

from proxy.config import Action, ConfigError, dotted
from proxy.policy.actions import check_action

from .sample import BASE, PBX, policy

MEDIA = '[[media]]\nname = "m"\nbind = "127.0.0.1"\nports = "16384-16483"\n'
CONTROLLED = '[[route]]\nto = "pbx"\ncontrol = true\nmedia = "anchor"\n'
PASSED = '[[route]]\nto = "pbx"\ncontrol = true\n'
REQUESTS = '[[request]]\nname = "crm"\nurl = "https://crm.example/a"\n'
OTHERS = '[[upstream]]\nname = "no-refer"\ntargets = [{address = "127.0.0.9"}]\nrefer = false\n'
EDGE = policy(PBX + OTHERS + MEDIA + CONTROLLED + REQUESTS).config
WITHOUT_MEDIA = policy(PBX + OTHERS + PASSED).config
WARM = {"name": "w", "mode": "warm", "targets": ["sip:2001@127.0.0.4:5070"]}
BLIND = {**WARM, "mode": "blind"}


def problems(base: dict, config=EDGE, saved: bool = False, **more) -> list[tuple[str, str]]:
    """(path, text) of everything wrong with an action, as an API client would send it."""
    action = msgspec.convert({**base, **more}, Action)
    return [(dotted(one.path), one.text) for one in check_action(config, action, saved=saved)]


def problem(base: dict, path: str, **more) -> str:
    """The text of the only problem."""
    found = problems(base, **more)
    assert [where for where, _ in found] == [path], found
    return found[0][1]


@pytest.mark.parametrize("base", [WARM, BLIND])
def test_a_target_and_a_mode_are_enough(base):
    assert problems(base) == []


@pytest.mark.parametrize("more", [
    {"targets": []}, {"targets": ["tel:+1234567890"], "upstream": "pbx"},
    {"upstream": "pbx", "targets": ["internal-1"]},
    {"targets": ["sip:a@127.0.0.4:5070", "sip:b@127.0.0.9"], "on_failure": "next"},
    {"targets": ["sip:user@domain.com:5060"], "upstream": "pbx"}, {"on_failure": "end"}, {"on_failure": "return"},
    {"caller_id": "fixed", "caller_uri": "sip:+1@agents.example"}, {"caller_id": "caller", "diversion": True},
    {"hold": "audio", "hold_file": "sounds/hold.wav"}, {"before": ["crm"]},
    {"whisper": {"text": "A call from {from_phone_number} about {results.data.topic}", "accept": "1", "decline": "2"}},
    {"whisper": {"summary": "Who calls, and why?", "fallback": "A call."}}, {"whisper": {"accept": "1"}},
    {"headers": [{"name": "X-A", "value": "{results.data.name}"}],
     "extractors": [{"header": "X-Customer-Intent", "prompt": "Classify", "allowed": ["claim", "other"]}]},
])
def test_what_a_warm_transfer_may_be(more):
    assert problems(WARM, **more) == []


@pytest.mark.parametrize("more", [
    {"targets": ["sip:user@domain.com"]}, {"on_failure": "return"}, {"on_failure": "bridge"},
    {"on_failure": "bridge", "whisper": {"text": "a"}, "caller_id": "caller", "hold": "audio", "hold_file": "a.wav"},
    {"on_failure": "next", "targets": ["sip:a@domain.com", "sip:b@127.0.0.4"]},
])
def test_what_a_blind_one_may_be(more):
    assert problems(BLIND, **more) == []


class TestModeThatCannotWork:
    def test_nothing_is_handed_over_without_a_controlled_call(self):
        plain = policy(PBX + '[[route]]\nto = "pbx"\n').config
        for base in (WARM, BLIND):
            assert "control = true" in problem(base, "mode", config=plain)

    def test_warm_and_bridge_need_the_audio(self):
        assert 'media = "anchor"' in problem(WARM, "mode", config=WITHOUT_MEDIA)
        assert 'media = "anchor"' in problem(BLIND, "mode", config=WITHOUT_MEDIA, on_failure="bridge")
        assert problems(BLIND, config=WITHOUT_MEDIA) == []

    def test_blind_needs_a_peer_that_takes_refer(self):
        assert "takes no REFER" in problem(BLIND, "mode", upstream="no-refer")
        assert problems(WARM, upstream="no-refer") == []

    def test_three_way_is_for_later(self):
        assert "later version" in problem(WARM, "keep_agent", keep_agent=True)

    def test_bridge_is_what_blind_falls_back_to(self):
        assert "blind transfer falls back" in problem(WARM, "on_failure", on_failure="bridge")

    @pytest.mark.parametrize("targets", [[], ["sip:a@127.0.0.4"]])
    def test_next_needs_a_list(self, targets):
        assert "two at least" in problem(WARM, "on_failure", on_failure="next", targets=targets)

    def test_a_list_needs_next(self):
        two = ["sip:a@127.0.0.4", "sip:b@127.0.0.4"]
        assert 'expected on_failure = "next"' in problem(WARM, "targets", targets=two)

    @pytest.mark.parametrize(("name", "value"), [
        ("whisper", {"text": "a"}), ("diversion", True), ("caller_uri", "sip:a@b"), ("caller_id", "caller"),
        ("hold", "audio"),
    ])
    def test_blind_takes_nothing_that_acts_on_an_invite_of_the_edge(self, name, value):
        assert "warm" in problem(BLIND, name, **{name: value})


class TestTargets:
    @pytest.mark.parametrize(("text", "part"), [
        ("sips:user@127.0.0.4", "TLS"),
        ("internal-1", "bare extension"), ("tel:+1", "expected an upstream"), ("sip:2001@127.0.0.1", "the edge itself"),
        ("sip:a@127.0.0.4?X-A=1", "headers"), ("", "1 to"), ("sip:a@127.0.0.4;transport=tcp", "bound to tcp"),
    ])
    def test_what_cannot_be_called_says_why_and_where(self, text, part):
        assert part in problem(WARM, "targets[1]", targets=["sip:a@127.0.0.4", text], on_failure="next")

    def test_bare_extensions_with_custom_telephony_of_a_group(self):
        config = policy(PBX + MEDIA + CONTROLLED, BASE + 'custom_telephony = "pbx"\n').config
        assert problems(WARM, config=config, targets=["internal-1"]) == []

    def test_an_unknown_upstream(self):
        assert 'no upstream is called "nobody"' in problem(WARM, "upstream", upstream="nobody", targets=["x", "y"],
                                                           on_failure="next")


class TestHeaders:
    @pytest.mark.parametrize("name", ["Via", "From", "Call-ID", "f", "Content-Length", "Route", "Refer-To",
                                      "P-Asserted-Identity", "User-to-User", "X-", "X-A\r\nVia", "x-a", "X-A:", "X-Ä"])
    def test_standard_headers_can_never_be_set(self, name):
        assert "expected a header name" in problem(WARM, "headers[0].name", headers=[{"name": name, "value": "v"}])
        assert "expected a header name" in problem(WARM, "extractors[0].header",
                                                   extractors=[{"header": name, "prompt": "p"}])

    @pytest.mark.parametrize("value", ["a\r\nb", "a\0", "{", "{}", "{no such}", "{a.b}", "{results}", "}"])
    def test_values_that_are_no_templates(self, value):
        problem(WARM, "headers[0].value", headers=[{"name": "X-A", "value": value}])

    def test_a_name_twice_in_any_spelling(self):
        assert "set twice" in problem(WARM, "headers[1].name", headers=[{"name": "X-A", "value": "1"},
                                                                         {"name": "X-a", "value": "2"}])
        assert "set twice" in problem(WARM, "extractors[0].header", headers=[{"name": "X-A", "value": "1"}],
                                      extractors=[{"header": "X-A", "prompt": "p"}])

    def test_internal_headers_leave_only_to_the_trusted(self):
        headers = [{"name": "X-Internal-Id", "value": "1"}]
        assert "internal" in problem(WARM, "headers[0].name", headers=headers)
        assert problems(WARM, headers=headers, upstream="pbx") == []

    def test_bounds(self):
        many = [{"name": f"X-{number}", "value": ""} for number in range(65)]
        assert "at most 64" in problem(WARM, "headers", headers=many)
        assert "at most 16" in problem(WARM, "extractors", extractors=[
            {"header": f"X-{number}", "prompt": "p"} for number in range(17)])


class TestExtractors:
    @pytest.mark.parametrize(("more", "path"), [
        ({"allowed": ["a", "A"]}, "allowed[1]"), ({"allowed": ["a", " "]}, "allowed[1]"),
        ({"allowed": ["a\nb"]}, "allowed[0]"), ({"fallback": "a\r\nb"}, "fallback"),
        ({"fallback": "long", "limit": 3}, "fallback"), ({"allowed": ["größer"], "limit": 7}, "allowed[0]"),
        ({"prompt": " "}, "prompt"), ({"deadline": 0}, "deadline"), ({"deadline": 90}, "deadline"),
    ])
    def test_what_is_wrong(self, more, path):
        problem(WARM, f"extractors[0].{path}", extractors=[{"header": "X-A", "prompt": "p", **more}])


class TestDeadlines:
    def test_row_3_one_deadline_holds_in_every_layer(self):
        assert "longer than" in problem(WARM, "ring_timeout", ring_timeout=91)
        assert "as long as" in problem(WARM, "before[0]", before=["crm"], deadline=3, ring_timeout=2)
        assert "less than" in problem(WARM, "whisper.deadline", whisper={"text": "a", "deadline": 90})

    @pytest.mark.parametrize("name", ["ring_timeout", "deadline"])
    def test_they_have_a_length(self, name):
        assert name in {path for path, _ in problems({**WARM, name: 0})}


class TestWhisper:
    @pytest.mark.parametrize(("whisper", "path"), [
        ({}, "whisper"), ({"text": "a", "summary": "b"}, "whisper.summary"),
        ({"text": "a", "file": "b"}, "whisper.file"),
        ({"text": "{a b}"}, "whisper.text"), ({"text": "x" * 2001}, "whisper.text"),
        ({"text": "a", "fallback": "b"}, "whisper.fallback"), ({"accept": "1", "decline": "1"}, "whisper.decline"),
        ({"text": "a", "decline": "2"}, "whisper.accept"),
        ({"accept": "1", "answer_within": 0}, "whisper.answer_within"),
        ({"text": "a", "longest": 0}, "whisper.longest"),
    ])
    def test_what_is_wrong(self, whisper, path):
        problem(WARM, path, whisper=whisper)

    def test_a_text_may_have_lines(self):
        assert problems(WARM, whisper={"text": "Hello.\nA call from {from_phone_number}."}) == []


class TestCallerId:
    @pytest.mark.parametrize("uri", ["", "nobody", "sips:a@b", "http://a", "sip:a@b?X-A=1", "sip:a@b\r\nVia: x"])
    def test_fixed_needs_a_uri(self, uri):
        problem(WARM, "caller_uri", caller_id="fixed", caller_uri=uri)

    def test_a_uri_needs_fixed(self):
        problem(WARM, "caller_uri", caller_uri="sip:a@b")


class TestSaved:
    @pytest.mark.parametrize("file", ["/etc/passwd", "../a.wav", "a/../../b.wav", "~/a", "..", "a\\..\\b"])
    def test_an_api_client_names_no_files_outside(self, file):
        problem(WARM, "whisper.file", saved=True, whisper={"file": file})
        problem(WARM, "hold_file", saved=True, hold="audio", hold_file=file)
        assert problems(WARM, whisper={"file": file}) == []

    def test_the_file_s_names_are_taken(self):
        config = policy(PBX + MEDIA + CONTROLLED + '[[transfer]]\nname = "w"\nmode = "warm"\n').config
        assert "another name" in problem(WARM, "name", config=config, saved=True)

    def test_unknown_requests(self):
        assert 'no request is called "x"' in problem(WARM, "before[0]", before=["x"])
        assert "stands twice" in problem(WARM, "before[1]", before=["crm", "crm"])

    def test_a_name_is_printable(self):
        problem(WARM, "name", name="a\nb")


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as found:
        policy(PBX + text)
    return [line.partition(": ")[2] for line in str(found.value).splitlines()]


class TestFile:
    def test_the_same_code_with_lines_of_the_file(self):
        action = '[[transfer]]\nname = "w"\nmode = "warm"\ntargets = ["sips:a@b"]\nkeep_agent = true\n'
        assert [fault.partition(":")[0] for fault in faults(MEDIA + CONTROLLED + action)] == [
            "transfer[0].targets[0]", "transfer[0].keep_agent"]

    def test_each_name_once(self):
        one = '[[transfer]]\nname = "w"\nmode = "blind"\n'
        assert faults(PASSED + one + one) == [
            'transfer[1].name: a second transfer is called "w"; expected each name once']

    @pytest.mark.parametrize(("more", "part"), [
        ('methods = ["OPTIONS"]\n', "route[0].control: acts on calls"),
        ('precall = "crm"\n', 'route[0].precall: no request is called "crm"'),
    ])
    def test_controlled_routes(self, more, part):
        assert faults(PASSED + more)[0].startswith(part)

    def test_the_pre_call_webhook_is_for_controlled_calls(self):
        text = REQUESTS + '[[route]]\nto = "pbx"\nprecall = "crm"\n'
        assert faults(text) == [
            "route[0].precall: is asked for controlled calls only; expected control = true beside it"]
        assert policy(PBX + REQUESTS + PASSED + 'precall = "crm"\n')


class TestReferRule:
    ACTION = '[[transfer]]\nname = "w"\nmode = "blind"\n'

    def test_run_names_an_action(self):
        assert policy(PBX + PASSED + self.ACTION + '[[refer]]\naction = "run"\ntransfer = "w"\n')
        assert faults(PASSED + '[[refer]]\naction = "run"\n') == [
            'refer[0].transfer: is empty; expected the name of a transfer action for "run"']
        assert faults(PASSED + self.ACTION + '[[refer]]\naction = "run"\ntransfer = "x"\n') == [
            'refer[0].transfer: no transfer action is called "x"; expected one of: "w"']

    def test_with_the_api_the_action_may_be_saved_later(self):
        assert policy(PBX + PASSED + '[api]\nbind = "127.0.0.1:8080"\n[[refer]]\naction = "run"\ntransfer = "x"\n')

    @pytest.mark.parametrize(("more", "path"), [
        ('action = "run"\ntransfer = "w"\nupstream = "pbx"\n', "action"), ('transfer = "w"\n', "transfer"),
        ('action = "refuse"\ntransfer = "w"\n', "transfer"),
    ])
    def test_what_does_not_fit(self, more, path):
        (fault,) = faults(PASSED + self.ACTION + "[[refer]]\n" + more)
        assert fault.startswith(f"refer[0].{path}: ")

    def test_nothing_is_forwarded_to_an_upstream_that_takes_no_refer(self):
        (fault,) = faults(OTHERS + '[[refer]]\nupstream = "no-refer"\n')
        assert fault.startswith('refer[0].upstream: "no-refer" takes no REFER')

    def test_run_needs_a_controlled_route(self):
        (fault,) = faults('[[route]]\nto = "pbx"\n[api]\nbind = "127.0.0.1:8080"\n[[refer]]\naction = "run"\n'
                          'transfer = "x"\n')
        assert fault == 'refer[0].action: "run" acts on controlled calls; expected a route with control = true'

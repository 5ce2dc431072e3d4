"""What answers to OPTIONS mean for transfers, in words."""
import pytest

from proxy.preflight.report import Answer, Certificate, Report, Word, lines_of, words_of

GOOD = Answer(address="udp:192.0.2.10:5060", status=200, reason="OK", ms=3, allow=("INVITE", "REFER"),
              supported=("replaces",))


def about(subject, *answers):
    found = [word for word in words_of(answers) if word.about == subject]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(("changes", "verdict", "said"), [
    ({}, "yes", "works"),
    ({"status": 401, "realms": ("pbx",)}, "yes", "works"),
    ({"allow": ("OPTIONS", "REGISTER")}, "no", "no INVITE"),
    ({"status": 404, "reason": "Not Found"}, "no", "404 Not Found"),
    ({"status": 403, "reason": "Forbidden"}, "no", "refuses us (403 Forbidden)"),
    ({"status": 486, "reason": "Busy Here"}, "open", "not free now (486 Busy Here)"),
    ({"status": 503, "reason": "Service Unavailable"}, "open", "503 Service Unavailable"),
    ({"allow": None}, "yes", "works"),
])
def test_warm(changes, verdict, said):
    word = about("warm", replaced(GOOD, **changes))
    assert (word.verdict, said in word.text) == (verdict, True)


@pytest.mark.parametrize(("allow", "verdict", "said"), [
    (("INVITE", "REFER"), "yes", "takes REFER"),
    (("INVITE",), "no", 'on_failure = "bridge"'),
    (None, "open", "no Allow"),
])
def test_blind(allow, verdict, said):
    word = about("blind", replaced(GOOD, allow=allow))
    assert (word.verdict, said in word.text) == (verdict, True)


@pytest.mark.parametrize(("supported", "verdict"), [(("replaces", "timer"), "yes"), ((), "open")])
def test_attended(supported, verdict):
    assert about("attended", replaced(GOOD, supported=supported)).verdict == verdict


def test_nobody_answers():
    words = words_of([Answer(address="udp:192.0.2.10:5060", fault="no answer within 5 s")])
    assert [(word.about, word.verdict) for word in words] == [("reach", "no"), ("tls", "open")]


def test_a_dead_address_among_others_is_named_and_the_first_that_answers_judged():
    dead = Answer(address="udp:192.0.2.9:5060", fault="nothing listens there")
    word = about("reach", dead, replaced(GOOD, allow=("OPTIONS",)))
    assert (word.verdict, "udp:192.0.2.9:5060" in word.text) == ("open", True)
    assert about("warm", dead, replaced(GOOD, allow=("OPTIONS",))).verdict == "no"


def test_a_bad_certificate_is_said_and_makes_the_report_bad():
    answer = Answer(address="tls:192.0.2.10:5061", fault="the certificate is not for pbx.example.com")
    report = Report(uri="sips:pbx.example.com", answers=(answer,), words=words_of([answer]))
    assert about("tls", answer) == Word(about="tls", verdict="no",
                                        text="TLS: the certificate is not for pbx.example.com.")
    assert not report.good


def test_no_refer_alone_leaves_the_report_good():
    answer = replaced(GOOD, allow=("INVITE",))
    assert Report(uri="sip:a@192.0.2.10", answers=(answer,), words=words_of([answer])).good


def test_the_lines_of_a_report():
    answer = replaced(GOOD, server="Asterisk", codecs=("PCMA/8000",), certificate=Certificate(
        names=("pbx.example.com",), until="2030-01-01T00:00:00+00:00"))
    lines = list(lines_of(Report(uri="sips:pbx.example.com", answers=(answer,), words=words_of([answer]),
                                 sizes=("route[0] INVITE to pbx: 800 of 1,300 bytes",))))
    assert lines[0] == "sips:pbx.example.com"
    assert lines[1].split() == ["udp:192.0.2.10:5060", "200", "OK,", "3", "ms,", "Asterisk"]
    assert "    codecs: PCMA/8000" in lines
    assert "    certificate: pbx.example.com; until 2030-01-01T00:00:00+00:00" in lines
    assert "  route[0] INVITE to pbx: 800 of 1,300 bytes" in lines
    assert lines[-1].startswith("open ")


def replaced(answer, **changes):
    return Answer(**({name: getattr(answer, name) for name in answer.__struct_fields__} | changes))

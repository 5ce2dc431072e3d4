"""transfers.md section 2: target formats; section 7 rows 7, 8 and 11: loops, untouched URIs, escaping once."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.headers import Filled
from proxy.policy.placement import Placement, Plan
from proxy.policy.refusals import Refused
from proxy.policy.targets import Destination, Targets, referred
from sipcore.base.place import Place
from sipcore.wire.escape import escape_user
from sipcore.wire.uri import URI

from .sample import BASE, PBX, policy

TRUNK = """\
[[upstream]]
name = "trunk"
targets = [{address = "192.0.2.20", priority = 1}, {address = "192.0.2.21:5080", priority = 2}]
uri = "sip:{user}@{host};user=phone"
strip = "+"
prefix = "00"
[[upstream]]
name = "tel-trunk"
targets = [{address = "192.0.2.30"}]
uri = "tel:{user}"
[[upstream]]
name = "as-it-is"
targets = [{address = "192.0.2.40"}]
uri = ""
"""


def targets(more: str = "", base: str = BASE) -> Targets:
    return Targets(policy(PBX + TRUNK + more, base).config)


def resolve(text: str, **options) -> Destination:
    return targets().resolve(text, **options)


def refused(text: str, **options) -> tuple[int, str]:
    with pytest.raises(Refused) as found:
        resolve(text, **options)
    return found.value.status, found.value.reason


def addresses(found: Destination) -> list[tuple[str, int]]:
    return [(hop.host, hop.port) for hop in found.hops]


class TestFormats:
    def test_basic(self):
        found = resolve("sip:user@192.0.2.7")
        assert (found.uri, addresses(found)) == ("sip:user@192.0.2.7", [("192.0.2.7", 5060)])

    def test_basic_with_a_name_is_looked_up_where_the_edge_calls_it(self):
        (hop,) = resolve("sip:user@Domain.com").hops
        assert (hop.uri, hop.listener, hop.place) == ("sip:user@Domain.com", -1, Place("domain.com"))
        (hop,) = resolve("sip:user@domain.com:5070;transport=udp").hops
        assert hop.place == Place("domain.com", 5070, "udp")
        assert refused("sip:user@domain.300") == (400, "Malformed Transfer Target")
        found = resolve("sip:user@domain.com", upstream="pbx")
        assert (found.uri, addresses(found)) == ("sip:user@domain.com", [("127.0.0.4", 5070)])

    def test_basic_with_a_name_is_the_referee_s_to_resolve_where_refer_asks_it(self):
        found = resolve("sip:user@domain.com", reach=False)
        assert (found.uri, found.hops) == ("sip:user@domain.com", ())

    def test_with_port(self):
        assert addresses(resolve("sip:user@192.0.2.7:5062")) == [("192.0.2.7", 5062)]
        assert addresses(resolve("sip:user@domain.com:5062", upstream="pbx")) == [("127.0.0.4", 5070)]

    @pytest.mark.parametrize("options", [{}, {"upstream": "pbx"}, {"reach": False}])
    def test_secure_is_refused_never_downgraded(self, options):
        assert refused("sips:user@192.0.2.7", **options) == (416, "SIPS Needs TLS, Which Is Not Available")

    def test_e164(self):
        assert resolve("sip:+1234567890@192.0.2.7").uri == "sip:+1234567890@192.0.2.7"
        found = resolve("sip:+1234567890@provider.com", upstream="pbx")
        assert found.uri == "sip:+1234567890@provider.com"

    def test_raw_with_a_named_upstream(self):
        found = resolve("internal-ext-123", upstream="pbx")
        assert (found.uri, addresses(found)) == ("sip:internal-ext-123@127.0.0.4:5070", [("127.0.0.4", 5070)])

    def test_raw_with_custom_telephony_of_the_agent_s_group(self):
        assert resolve("internal-ext-123", custom="pbx").uri == "sip:internal-ext-123@127.0.0.4:5070"
        assert resolve("internal-ext-123", upstream="trunk", custom="pbx").uri == "sip:internal-ext-123@192.0.2.20:5060"

    @pytest.mark.parametrize("options", [{}, {"reach": False}, {"upstream": "request-uri"}])
    def test_raw_anywhere_else_is_refused_with_a_clear_error(self, options):
        assert refused("internal-ext-123", **options) == (400, "A Raw Transfer Target Needs Custom Telephony")

    @pytest.mark.parametrize("text", ["a b", "-x", "a@b", "2001;x", "x" * 65, "größe", "a/b"])
    def test_raw_is_an_extension_and_nothing_else(self, text):
        assert refused(text, upstream="pbx") == (400, "Malformed Transfer Target")

    @pytest.mark.parametrize(("upstream", "uri"), [
        ("pbx", "sip:+1234567890@127.0.0.4:5070"), ("trunk", "sip:001234567890@192.0.2.20:5060;user=phone"),
        ("tel-trunk", "tel:+1234567890"), ("as-it-is", "tel:+1-234-567890"),
    ])
    def test_tel_by_the_upstream_s_template(self, upstream, uri):
        assert resolve("tel:+1-234-567890", upstream=upstream).uri == uri

    def test_tel_needs_an_upstream_where_the_edge_calls_it(self):
        assert refused("tel:+1234567890") == (416, "A tel URI Needs an Upstream")

    def test_tel_for_refer_follows_the_referee_s_template_if_it_has_one(self):
        edge = targets()
        referee = edge.referee("", ("192.0.2.20", 5060))
        assert edge.resolve("tel:+12", reach=False, referee=referee).uri == "sip:0012@192.0.2.20:5060;user=phone"
        assert edge.resolve("tel:+12", reach=False, referee=edge.referee("", ("198.51.100.1", 5060))).uri == "tel:+12"

    @pytest.mark.parametrize("text", ["tel:abc", "tel:", "tel:+"])
    def test_tel_without_a_number(self, text):
        assert refused(text, upstream="pbx") == (400, "Malformed Transfer Target")


@pytest.mark.parametrize("text", [
    "", " ", "sip:", "sip:@h", "sip:a b@192.0.2.7", "sip:a@192.0.2.7\r\nVia: x", "sip:a@192.0.2.7\0", "sip:a@192.0.2",
    "sip:a@0.0.0.0", "sip:a@[ff02::1]", "sip:a@192.0.2.7:0", "<sip:a@192.0.2.7>", "sip:a@192.0.2.7?X-A=b",
    "sip:a@192.0.2.7?Via=x", "sip:a@192.0.2.7;maddr=127.0.0.1", "sip:a@192.0.2.7;method=BYE", "x" * 2000,
])
def test_what_is_no_target(text):
    assert refused(text) == (400, "Malformed Transfer Target")


@pytest.mark.parametrize("text", ["http://192.0.2.7/", "mailto:a@b", "file:x"])
def test_other_schemes(text):
    assert refused(text)[0] in (400, 416)


def test_another_transport_is_refused_where_there_is_no_listener_of_it():
    assert refused("sip:a@192.0.2.7;transport=tcp") == (503, "No TCP Listener")
    assert refused("sip:a@192.0.2.7;transport=sctp") == (400, "Unsupported Transport")
    assert resolve("sip:a@192.0.2.7;transport=UDP").uri == "sip:a@192.0.2.7;transport=UDP"
    assert resolve("sip:a@192.0.2.7;transport=tcp", reach=False).uri == "sip:a@192.0.2.7;transport=tcp"


def test_the_upstream_at_the_address_lends_its_settings():
    found = resolve("sip:2001@127.0.0.4:5070")
    assert found.peer.settings.name == "pbx"
    assert resolve("sip:2001@127.0.0.9").peer.settings.name == "request-uri"


def test_targets_of_an_upstream_in_the_order_of_their_priority_each_with_its_uri():
    found = resolve("sip:+49123@old.example", upstream="trunk")
    assert [(hop.uri, hop.host, hop.port) for hop in found.hops] == [
        ("sip:0049123@192.0.2.20:5060;user=phone", "192.0.2.20", 5060),
        ("sip:0049123@192.0.2.21:5080;user=phone", "192.0.2.21", 5080)]


def test_an_unknown_upstream():
    assert refused("2001", upstream="nobody") == (404, "No Such Upstream")


def test_an_address_of_a_family_without_a_listener():
    assert refused("sip:2001@[2001:db8::7]") == (503, "No IPv6 Listener")
    both = targets('[[listener]]\nname = "six"\nbind = "udp:[::1]:5060"\n')
    (hop,) = both.resolve("sip:2001@[2001:DB8::7]").hops
    assert (hop.host, hop.listener) == ("2001:db8::7", 1)
    (hop,) = both.resolve("sip:2001@[::ffff:192.0.2.7]").hops
    assert (hop.host, hop.listener) == ("192.0.2.7", 0)


class TestRow7Loops:
    @pytest.mark.parametrize("text", ["sip:2001@127.0.0.1", "sip:2001@127.0.0.1:5060;x=y", "sip:127.0.0.1",
                                      "sip:2001@[::ffff:127.0.0.1]"])
    @pytest.mark.parametrize("reach", [True, False])
    def test_a_target_that_is_the_edge_is_detected(self, text, reach):
        assert refused(text, reach=reach) == (482, "Loop Detected")

    def test_another_port_of_the_same_host_is_none(self):
        assert addresses(resolve("sip:2001@127.0.0.1:5090")) == [("127.0.0.1", 5090)]

    def test_the_advertised_address_counts_and_all_that_a_wildcard_stands_for_on_this_host(self):
        edge = targets(base=BASE.replace('"udp:127.0.0.1:5060"', '"udp:0.0.0.0:5060"\nadvertise = "203.0.113.5:5070"'))
        for host in ("203.0.113.5:5070", "127.0.0.1:5060", "127.8.8.8"):
            with pytest.raises(Refused, match="Loop Detected"):
                edge.resolve(f"sip:2001@{host}")
        assert addresses(edge.resolve("sip:2001@203.0.113.5:5060")) == [("203.0.113.5", 5060)]

    def test_with_an_upstream_a_target_that_names_the_edge_is_that_upstream_s(self):
        assert resolve("sip:2001@127.0.0.1:5060", upstream="pbx").uri == "sip:2001@127.0.0.4:5070"
        assert resolve("sip:2001@127.0.0.1:5060", upstream="pbx", reach=False).uri == "sip:2001@127.0.0.4:5070"

    def test_an_upstream_that_is_the_edge_is_detected(self):
        edge = targets('[[upstream]]\nname = "self"\ntargets = [{address = "127.0.0.1"}]\n')
        with pytest.raises(Refused, match="Loop Detected"):
            edge.resolve("2001", upstream="self")


class TestRow8FullUris:
    @pytest.mark.parametrize("text", [
        "sip:2001@pbx.example.com", "sip:a%40b%3Ac;x=1@PBX.example.com:5062;transport=udp;Foo=%41",
        "SIP:+49-30.1@192.0.2.7;user=phone", "sip:a:secret@192.0.2.7"])
    @pytest.mark.parametrize("options", [{"upstream": "pbx"}, {"upstream": "as-it-is"}, {"reach": False}])
    def test_stay_untouched(self, text, options):
        found = resolve(text, **options)
        assert found.uri == text
        assert {hop.uri for hop in found.hops} <= {text}

    def test_unless_the_named_upstream_s_template_says_otherwise(self):
        assert resolve("sip:+49123@pbx.example.com", upstream="trunk").uri == "sip:0049123@192.0.2.20:5060;user=phone"
        assert resolve("sip:+49123@pbx.example.com", upstream="tel-trunk").uri == "tel:+49123"
        assert refused("sip:bob@pbx.example.com", upstream="tel-trunk") == (404, "Not a Telephone Number")

    def test_a_template_keeps_the_domain_unless_that_is_the_edge(self):
        edge = targets('[[upstream]]\nname = "d"\ntargets = [{address = "192.0.2.50"}]\nuri = "sip:{user}@{domain}"\n'
                       'prefix = "9"\n')
        for host, domain in (("pbx.example.com", "pbx.example.com"), ("[2001:db8::1]:5062", "[2001:db8::1]"),
                             ("127.0.0.1", "192.0.2.50:5060")):
            assert edge.resolve(f"sip:1@{host}", upstream="d").uri == f"sip:91@{domain}"


class TestRow11Escaping:
    @given(st.text(min_size=1, max_size=20).filter(lambda text: not any("\ud800" <= one <= "\udfff" for one in text)))
    def test_a_user_part_survives_there_and_back(self, user):
        text = f"sip:{escape_user(user)}@192.0.2.7"
        assert URI(resolve(text).uri).user == user
        assert URI(resolve(text, upstream="pbx").uri).user == user
        assert resolve(text).uri == text

    @given(st.text("+@%3A \"'é€\U0001f600&?=;<>,:{}|\\", max_size=30).map(lambda text: text.strip(" ")),
           st.booleans())
    def test_a_header_inside_refer_to_survives_there_and_back(self, value, more):
        edge = policy('[[upstream]]\nname = "u"\ntargets = [{address = "192.0.2.7"}]\nrefer_headers = ["refer-to"]\n')
        plan = Plan("REFER", (Filled("X-A", value, 0), *([Filled("X-B", value, 0)] if more else [])), (),
                    Placement(edge.config.upstreams[0], "REFER"))
        target = "sip:a%40b@192.0.2.7;x=%41"
        read = referred([plan.refer_to(target)])
        assert read.text == target
        assert read.headers == (("X-A", value), *([("X-B", value)] if more else []))


class TestReferred:
    def test_the_target_stays_as_it_stands_without_headers_and_method(self):
        read = referred(['"Bob" <sip:a%40b;x=1@192.0.2.7:5070;METHOD=INVITE;lr;Foo=%41?X-A=b%20c&Subject=x&Via=y'
                         '&X-Bad=a%0D%0Ab&User-to-User=6869%3Bencoding%3Dhex>;tag=1'])
        assert read.text == "sip:a%40b;x=1@192.0.2.7:5070;lr;Foo=%41"
        assert read.headers == (("X-A", "b c"), ("User-to-User", "6869;encoding=hex"))
        assert read.replaces == ""

    def test_replaces_is_read_unescaped(self):
        read = referred(["<sip:b@192.0.2.7?Replaces=abc%40host%3Bto-tag%3D1%3Bfrom-tag%3D2>"])
        assert (read.text, read.replaces) == ("sip:b@192.0.2.7", "abc@host;to-tag=1;from-tag=2")

    def test_raw_and_tel(self):
        assert referred(["internal-ext-123"]).text == "internal-ext-123"
        assert referred(["<tel:+1-2;x=y>"]).text == "tel:+1-2;x=y"

    @pytest.mark.parametrize("values", [[], ["<sip:a@h>", "<sip:b@h>"], ["<sip:a@h"], [""]])
    def test_exactly_one_well_formed(self, values):
        with pytest.raises(Refused) as found:
            referred(values)
        assert found.value.status == 400


@given(st.text(max_size=60), st.sampled_from(["", "pbx", "trunk", "as-it-is"]), st.booleans())
def test_whatever_is_asked_for_no_line_is_broken(text, upstream, reach):
    try:
        found = _EDGE.resolve(text, upstream=upstream, reach=reach)
    except Refused:
        return
    for uri in (found.uri, *(hop.uri for hop in found.hops)):
        assert URI(uri).scheme in ("sip", "tel")
        assert not set(uri) & set("\r\n\0 <>\"")


_EDGE = targets()

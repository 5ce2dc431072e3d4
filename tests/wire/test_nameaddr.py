"""name-addr, comma lists and header parameters."""
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.wire.fault import WireFault
from sipcore.wire.nameaddr import NameAddress, quote_display, split_values

from .values import bracketed, hosts, lws, mutated, names, parsed, plain, quoted, tokens

VALUES = [
    # value, display, URI, tag, other parameters
    (b'"J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8',
     'J Rosenberg \\"', "sip:jdrosen@example.com", "98asjd8", {}),
    (b"\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
     "", "sip:vivekg@chair-dnrc.example.com", "1918181833n", {}),
    (b'"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33',
     'Quoted string ""', "sip:jdrosen@example.com", "", {"newparam": "newvalue", "secondparam": None, "q": "0.33"}),
    (b"caller<sip:caller@example.com>;tag=323", "caller", "sip:caller@example.com", "323", {}),
    (b'"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@example.com>',
     "BEL:\x07 NUL:\0 DEL:\x7f", "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com", "", {}),
    ("token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"работающий\""
     ";tag=_t~1'+`*%!-.".encode(),
     "token1~` token2'+_ token3*%!.-", "sip:mundane@example.com", "_t~1'+`*%!-.",
     {"fromparam''~+*_!.-%": '"работающий"'}),
    (b"<sips:bob@client.biloxi.example.com>;+sip.rendering=\"no\"", "", "sips:bob@client.biloxi.example.com", "",
     {"+sip.rendering": '"no"'}),
    (b'"A, B; <C>" <sip:a@b>;TAG=x', "A, B; <C>", "sip:a@b", "x", {}),
    (b"Bob\r\n Builder <sip:b@c>", "Bob Builder", "sip:b@c", "", {}),
    (b"isbn:2983792873", "", "isbn:2983792873", "", {}),
    (b"<http://www.example.com>;tag=3234233", "", "http://www.example.com", "3234233", {}),
    ("Zoë <sip:z@e>".encode(), "Zoë", "sip:z@e", "", {}),
    (b"sip:+19725552222@gw1.example.net;unknownparam", "", "sip:+19725552222@gw1.example.net", "",
     {"unknownparam": None}),
    (b"<sip:+19725552222@gw1.example.net;unknownparam>", "", "sip:+19725552222@gw1.example.net;unknownparam", "", {}),
    (b"<sip:u@h>;received=[2001:db8::1];x=a=b", "", "sip:u@h", "", {"received": "[2001:db8::1]", "x": "a=b"}),
]

BAD = {
    b"": "address",
    b"  ": "address",
    b'"Mr. J. User <sip:j.user@example.com>': "quot",                      # RFC 4475 3.1.2.6
    b'"a\\': "quot",
    b'"a\r\nb" <sip:a@b>': "quot",
    b"Bell, Alexander <sip:a.g.bell@example.com>;tag=43": "display",       # RFC 4475 3.1.2.15
    b'"a" b <sip:a@b>': "display",
    b'a "b" <sip:a@b>': "display",
    b"no-scheme": "display",
    b"<sip:a@b": "bracket",
    b"a <": "bracket",
    b'"Watson, Thomas" < sip:t.watson@example.org >': "scheme",            # RFC 4475 3.1.2.14
    b"sip:user@example.com?Route=%3Csip:sip.example.com%3E": "address",    # RFC 4475 3.1.2.13
    b"sip:a@b, sip:c@d": "address",
    b"sip:a b@c": "address",
    b"sip:a@b>": "address",
    b'<sip:a@b>;;;;': "parameter",                                         # RFC 4475 3.1.2.1
    b"<sip:a@b>;": "parameter",
    b"<sip:a@b> x": "parameter",
    b"<sip:a@b>;a b": "parameter",
    b"<sip:a@b>;a=b,c": "parameter",
    b"<sip:a@b>;a=\"b\"c": "parameter",
    b"<sip:a@b>;tag": "tag",
    b"<sip:a@b>;tag=": "tag",
    b'<sip:a@b>;tag="x"': "tag",
    b"<sip:a@b>;tag=x;Tag=y": "tag",
    b"<sip:a@b>;a=\r\nX-Evil: 1": "parameter",
    b"<>": "URI",
}


@pytest.mark.parametrize(("value", "display", "uri", "tag", "params"), VALUES)
def test_parts(value, display, uri, tag, params):
    address = NameAddress(value)
    assert (address.display, str(address.uri), address.tag) == (display, uri, tag)
    assert {name: text for name, text in address.params.items() if name != "tag"} == params
    for name, text in params.items():
        assert address.param(name.upper()) == (text or "")
    assert address.param("absent") is None
    assert address.brackets == (b"<" in value)


@pytest.mark.parametrize("value", BAD)
def test_malformed_values_are_refused_with_a_reason(value):
    with pytest.raises(WireFault, match=BAD[value]):
        NameAddress(value)


def test_star():
    assert NameAddress(b" * ").star
    assert NameAddress(b"*").uri is None
    assert NameAddress(b"* <sip:a@b>").display == "*"


@given(st.none() | quoted | st.lists(tokens, min_size=1, max_size=3).map(" ".join), hosts, tokens,
       st.dictionaries(names.filter(lambda name: name != "tag"), st.none() | tokens | quoted, max_size=4),
       st.lists(lws, min_size=9, max_size=9))
def test_render_then_parse(display, host, tag, params, gaps):
    gap = iter(gaps * 4)
    uri = f"sip:user@{bracketed(host)};lr"
    text = next(gap) + (f"{display} {next(gap)}" if display else "") + f"<{uri}>"
    for name, value in [*params.items(), ("tag", tag)]:
        text += f"{next(gap)};{next(gap)}{name}" + ("" if value is None else f"{next(gap)}={next(gap)}{value}")
    address = NameAddress((text + next(gap)).encode())
    again = NameAddress(address.render())
    for one in (address, again):
        assert str(one.uri) == uri
        assert (one.tag, one.params) == (tag, {**params, "tag": tag})
    assert address.display == again.display
    assert again.render() == address.render()


@given(plain)
def test_quoted_display_names_come_back(name):
    value = quote_display(name)
    assert re.fullmatch("[^\r\n\0]*", value)
    shown = NameAddress(value.encode() + b" <sip:a@b>").display
    assert shown == re.sub("[\x00-\x08\x0a-\x1f\x7f]", " ", name)


LISTS = {
    b"": [],
    b" \r\n ": [],
    b"a": [b"a"],
    b"<sip:a@b>, \"x, y\" <sip:c,d@e>;q=1 ,\r\n sip:f@g": [b"<sip:a@b>", b'"x, y" <sip:c,d@e>;q=1', b"sip:f@g"],
    b'"\\"," <sip:a@b>,b': [b'"\\"," <sip:a@b>', b"b"],
}


@pytest.mark.parametrize("value", LISTS)
def test_lists(value):
    assert split_values(value) == LISTS[value]


@pytest.mark.parametrize("value", [b",", b"a,", b",a", b"a,,b", b'"a', b"<a, b", b'a, "b'])
def test_malformed_lists(value):
    with pytest.raises(WireFault):
        split_values(value)


@given(st.lists(st.one_of(tokens, quoted, hosts.map(lambda host: f"<sip:a,b@{bracketed(host)}>;x")), min_size=1,
                max_size=5), lws, lws)
def test_joined_lists_split_again(values, before, after):
    raw = [value.encode() for value in values]
    assert split_values((before + "," + after).encode().join(raw)) == raw


@given(mutated([value for value, *_ in VALUES]))
def test_hostile_bytes_are_parsed_or_refused(value):
    assert all(one and one in value for one in parsed(split_values, value) or [])
    address = parsed(NameAddress, value)
    if address is None:
        return
    again = NameAddress(address.render())
    assert (again.tag, again.params, again.uri) == (address.tag, address.params, address.uri)
    if not address.star:
        assert len(split_values(address.render())) == 1

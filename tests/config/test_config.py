"""A file becomes a Config, or every problem with its line and path."""
import msgspec
import pytest

from proxy.app import build_proxy
from proxy.config import Config, ConfigError, Limits, token_key
from proxy.config import decode as decode_text
from proxy.load import load
from proxy.policy.validate import problems_of

SIMPLE = """\
[[listener]]
name = "lan"
bind = "udp:192.0.2.1:5060"
[[group]]
name = "office"
addresses = ["192.0.2.0/24"]
[[upstream]]
name = "pbx"
targets = [{address = "192.0.2.9:5060"}]
[[route]]
to = "pbx"
"""


def decode(text: str, **options) -> Config:
    return decode_text(text, problems_of, file="edge.toml", **options)


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        decode(text)
    return str(caught.value).splitlines()


def fault(addition: str, base: str = SIMPLE) -> str:
    """The only problem of a good file with an addition; its line counts from the addition's first."""
    (line,) = faults(base + addition)
    file, number, rest = line.split(":", 2)
    assert file == "edge.toml"
    return f"{int(number) - base.count(chr(10))}:{rest}"


def test_few_lines_make_an_edge():
    config = decode(SIMPLE)
    assert config.groups[0].methods == ("INVITE", "OPTIONS")
    assert config.unlisted.answer == "silent"
    assert config.limits == Limits()
    assert config.upstreams[0].size_policy[-1] == "fragment"


def test_a_configuration_travels_between_processes():
    config = decode(SIMPLE, epoch=7)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=Config) == config
    assert config.epoch == 7


def test_listen_takes_the_place_of_the_listeners():
    config = decode(SIMPLE, listen="udp:127.0.0.1:5099")
    assert [listener.bind for listener in config.listeners] == ["udp:127.0.0.1:5099"]


def test_an_unknown_table_names_its_line_and_the_known_ones():
    assert fault("[stat]\n").startswith("1: stat: unknown key; expected one of listener, group,")


@pytest.mark.parametrize(("addition", "expected"), [
    ('[[group]]\nname = "a"\naddreses = ["10.0.0.0/8"]\n',
     '3: group[1].addreses: unknown key; did you mean "addresses"?'),
    ('[[group]]\nname = "a"\naddresses = [\n  "10.0.0.0/8",\n  "10.0.0.300",\n]\n',
     '5: group[1].addresses[1]: expected a CIDR prefix such as "192.0.2.0/24" or "2001:db8::/32", found "10.0.0.300"'),
    ('[[group]]\nname = "a"\naddresses = ["10.1.0.0/8"]\n',
     '3: group[1].addresses[0]: "10.1.0.0/8" has bits set after its prefix length; expected "10.0.0.0/8"'),
    ('[[group]]\nname = "a"\naddresses = ["10.0.0.0/8"]\naction = "drop"\n',
     '4: group[1].action: expected one of "allow", "deny", "forbid", found "drop"'),
    ('[[group]]\nname = "a"\naddresses = ["192.0.2.0/24"]\n',
     '3: group[1].addresses: 192.0.2.0/24 is in group "office" already; expected each prefix in one group'),
    ('[[group]]\nname = "unlisted"\naddresses = ["10.0.0.0/8"]\n',
     '2: group[1].name: the name "unlisted" is taken; expected another'),
    ('[[group]]\nname = "office"\naddresses = ["10.0.0.0/8"]\n',
     '2: group[1].name: a second group is called "office"; expected each name once'),
    ('[[group]]\nname = "a"\naddresses = ["10.0.0.0/8"]\nmethods = ["invite"]\n',
     '4: group[1].methods[0]: expected a method in capitals such as "INVITE", found "invite"'),
    ('[[group]]\nname = "a"\naddresses = ["10.0.0.0/8"]\ncustom_telephony = "trunk"\n',
     '4: group[1].custom_telephony: no upstream is called "trunk"; expected one of: "pbx"'),
    ('[[group]]\naddresses = ["10.0.0.0/8"]\n', "1: group[1].name: is missing"),
    ('[[listener]]\nname = "b"\nbind = "udp:0.0.0.0:5060"\n',
     '3: listener[1].bind: "udp:0.0.0.0:5060" is a wildcard; expected `advertise` with the address that peers can '
     "reach"),
    ('[[listener]]\nname = "b"\nbind = "udp:0.0.0.0:5070"\nadvertise = "0.0.0.0"\n',
     '4: listener[1].advertise: expected the address of one host, found "0.0.0.0"'),
    ('[[listener]]\nname = "b"\nbind = "udp:192.0.2.1:5070"\nadvertise = "224.0.0.1:5060"\n',
     '4: listener[1].advertise: expected the address of one host, found "224.0.0.1"'),
    ('[[listener]]\nname = "b"\nbind = "sctp:192.0.2.1:5060"\n',
     '3: listener[1].bind: expected transport (udp, tcp, tls, ws, wss), address and port such as '
     '"udp:127.0.0.1:5060", found "sctp:192.0.2.1:5060"'),
    ('[[listener]]\nname = "b"\nbind = "tls:192.0.2.1:5061"\n',
     '1: listener[1].tls: "tls:192.0.2.1:5061" needs a certificate; expected the name of a [[tls]]'),
    ('[[listener]]\nname = "b"\nbind = "192.0.2.1:5061"\n',
     '3: listener[1].bind: expected transport (udp, tcp, tls, ws, wss), address and port such as '
     '"udp:127.0.0.1:5060", found "192.0.2.1:5061"'),
    ('[[upstream]]\nname = "b"\ntargets = [\n  {address = "192.0.2.7"},\n  {address = "pbx_.example.300"},\n]\n',
     '5: upstream[1].targets[1].address: expected an IP address such as "192.0.2.10:5060" or "[2001:db8::10]:5060", or '
     'a host name such as "pbx.example.com", found "pbx_.example.300"'),
    ('[[upstream]]\nname = "b"\ntargets = [{address = "192.0.2.7", wieght = 1}]\n',
     '3: upstream[1].targets[0].wieght: unknown key; did you mean "weight"?'),
    *[(f'[[upstream]]\nname = "b"\ntargets = [{{address = "{host}"}}]\n',
       f'3: upstream[1].targets[0].address: expected the address of one host, found "{host}"')
      for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255")],
    ('[[upstream]]\nname = "b"\ntargets = [{address = "[2001:db8::1]:5070"}]\n',
     "3: upstream[1].targets[0].address: no listener is bound to udp on an IPv6 address; expected one such as "
     '"udp:[2001:db8::5]:5060"'),
    ('[[listener]]\nname = "b"\nbind = "tcp:[2001:db8::1]:5060"\n'
     '[[upstream]]\nname = "b"\ntargets = [{address = "192.0.2.7", transport = "tcp"}]\n',
     "6: upstream[1].targets[0].address: no listener is bound to tcp on an IPv4 address; expected one such as "
     '"tcp:203.0.113.5:5060"'),
    ('[[upstream]]\nname = "b"\ntargets = [{address = "pbx.example.com", transport = "tcp"}]\n',
     '3: upstream[1].targets[0].transport: no listener is bound to tcp; expected one such as "tcp:203.0.113.5:5060"'),
    ('[[upstream]]\nname = "b"\ntargets = []\n', "3: upstream[1].targets: is empty; expected one target at least"),
    ('[[upstream]]\nname = "b"\ntargets = [{address = "192.0.2.7"}]\nsize_policy = ["refuse", "drop"]\n',
     '4: upstream[1].size_policy[0]: "refuse" ends the policy; expected it last'),
    ('[[upstream]]\nname = "b"\ntargets = [{address = "192.0.2.7"}]\nmtu = 70000\n',
     "4: upstream[1].mtu: expected an integer <= 65535, found 70000"),
    ('[[upstream]]\nname = "b"\ntargets = [{address = "192.0.2.7"}]\nuri = "sip:{users}@{host}"\n',
     "4: upstream[1].uri: unknown variable {users}; expected {user}, {host} or {domain}"),
    ('[[upstream]]\nname = "b"\ntargets = [{address = "192.0.2.7"}]\nuri = "tel:{user}"\nprefix = "abc"\n',
     '5: upstream[1].prefix: expected digits, with or without "+" in front, found "abc"'),
    ('[[upstream]]\nname = "b"\ntargets = [{address = "192.0.2.7"}]\n[upstream.user_to_user]\nlimit = "128"\n',
     '5: upstream[1].user_to_user.limit: expected an integer, found "128"'),
    ('[[upstream]]\nname = "request-uri"\ntargets = [{address = "192.0.2.7"}]\n',
     '3: upstream[1].targets: "request-uri" goes where the request URI says; expected no targets'),
    ('[[route]]\nto = "trunk"\n',
     '2: route[1].to: no upstream is called "trunk"; expected one of: "pbx", "request-uri", "local"'),
    ('[[route]]\nto = "pbx"\nprefixes = ["+49", "abc"]\n',
     '3: route[1].prefixes[1]: expected digits, with or without "+" in front, found "abc"'),
    ('[[route]]\nto = "pbx"\ndomains = ["exa mple"]\n',
     '3: route[1].domains[0]: expected a host such as "example.com", "*.example.com" or "192.0.2.1", found "exa mple"'),
    ('[[route]]\nto = "local"\n',
     '2: route[1].to: "local" answers only OPTIONS in this version, without headers; expected methods = ["OPTIONS"]'),
    ('[[route]]\nto = "pbx"\nheaders = ["crm"]\n',
     '3: route[1].headers[0]: no header set is called "crm"; expected one of: none is configured'),
    ('[[headers]]\nname = "h"\n[[headers.add]]\nname = "X-A"\nvalue = "1"\n'
     '[[headers.add]]\nname = "Via"\nvalue = "1"\n',
     '7: headers[0].add[1].name: expected a header name that matches ^X-[A-Za-z0-9\\-_]+$, found "Via"'),
    ('[[headers]]\nname = "h"\nadd = [{name = "X-A", value = "{customer}"}]\n',
     "3: headers[0].add[0].value: unknown variable {customer}; expected one of {call_id}, {from_phone_number}, "
     "{to_phone_number} or {X-Name}"),
    ('[[headers]]\nname = "h"\nadd = [{name = "X-A", value = "1", missing = "keep"}]\n',
     '3: headers[0].add[0].missing: expected one of "empty", "fail", "omit", found "keep"'),
    ('[[headers]]\nname = "h"\non = ["BYE"]\nadd = [{name = "X-A", value = "1"}]\n',
     '3: headers[0].on[0]: expected one of "INVITE", "REFER", found "BYE"'),
    ('[[headers]]\nname = "h"\nadd = [{name = "X-Internal-A", value = "1"}]\n[[route]]\nto = "pbx"\nheaders = ["h"]\n',
     '6: route[1].headers: "h" sets X-Internal-A, which is internal and would not leave; expected an upstream whose '
     "addresses are all in a trusted group"),
    ('[internal]\nheaders = ["X Internal"]\n',
     '2: internal.headers[0]: expected a header name or a beginning such as "X-Internal-*", found "X Internal"'),
    ('[[refer]]\naction = "carry"\n', '2: refer[0].action: expected one of "forward", "refuse", "run", found "carry"'),
    ('[[refer]]\ntargets = ["trunk"]\n',
     '2: refer[0].targets[0]: no upstream is called "trunk"; expected one of: "pbx"'),
    ("[timers]\nt1 = 5\nt2 = 1\n", "3: timers.t2: expected at least t1 (5.0), found 1.0"),
    ('[timers]\nt1 = "500ms"\n', '2: timers.t1: expected a number, found "500ms"'),
    ("[limits]\nmessage_size = 100\n", "2: limits.message_size: expected an integer >= 1024, found 100"),
    ("[limits]\nmessage_size = 4096\nline_length = 8192\n",
     "3: limits.line_length: expected at most message_size (4096), found 8192"),
    ("[log]\ncalls = 1\n", "2: log.calls: expected true or false, found 1"),
    ('[secrets]\ntoken_key_file = "a"\ntoken_key_env = "B"\n',
     "3: secrets.token_key_env: expected token_key_file or token_key_env, found both"),
])
def test_a_wrong_value_is_named_with_line_and_path(addition, expected):
    assert fault(addition) == expected


def test_a_value_in_a_table_s_place():
    assert faults("log = 5\n") == ["edge.toml:1: log: expected a table, found 5"]
    assert faults('[group]\nname = "a"\n') == ["edge.toml:1: group: expected [[group]], found a table"]


def test_two_sets_of_a_route_may_not_set_the_same_header():
    both = "".join(f'[[headers]]\nname = "{name}"\nadd = [{{name = "X-A", value = "1"}}]\n' for name in "ab")
    lines = faults(SIMPLE + both + '[[route]]\nto = "pbx"\nheaders = ["a", "b"]\n')
    assert 'edge.toml:20: route[1].headers: X-A is set twice on INVITE (sets "a" and "b"); expected it once' in lines


def test_internal_headers_may_be_set_towards_trusted_upstreams():
    decode(SIMPLE.replace('["192.0.2.0/24"]', '["192.0.2.0/24"]\ntrusted = true').replace(
        'to = "pbx"', 'to = "pbx"\nheaders = ["h"]')
        + '[[headers]]\nname = "h"\nadd = [{name = "X-Internal-A", value = "1"}]\n')


def test_a_wrong_listen_is_not_the_file_s():
    with pytest.raises(ConfigError) as caught:
        decode(SIMPLE, listen="udp:192.0.2.1:99999")
    assert str(caught.value).startswith("--listen: bind: ")


@pytest.mark.parametrize("depth", [100, 400, 3000])
def test_what_stands_too_deep_is_told(depth):
    assert len(faults(f"deep = {'[' * depth}{']' * depth}")) == 1


def test_text_that_is_no_toml_names_the_line():
    assert faults('[[group]]\nname = "x\n') == [
        "edge.toml:2: not TOML: Illegal character '\\n' (at line 2, column 10)"]


def test_every_problem_is_told_at_once_in_the_order_of_the_file():
    lines = faults(SIMPLE + '[[group]]\naddresses = ["10.0.0.0/8"]\nname = ""\n[timers]\nt1 = 0\n[lgo]\n')
    assert [line.split(":")[2].strip() for line in lines] == ["group[1].name", "timers.t1", "lgo"]


def test_no_listener_is_a_problem():
    assert faults('[[route]]\nto = "request-uri"\n') == [
        "edge.toml:1: no [[listener]]; expected one at least (or --listen)"]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"edge\.toml: cannot be read: No such file"):
        load(tmp_path / "edge.toml")


def test_a_file_that_is_not_utf_8(tmp_path):
    (tmp_path / "edge.toml").write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8 at byte 2"):
        load(tmp_path / "edge.toml")


def test_the_key_file_is_looked_for_beside_the_configuration(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(SIMPLE + '[secrets]\ntoken_key_file = "key"\n')
    with pytest.raises(ConfigError, match=r"edge\.toml:13: secrets\.token_key_file: cannot read key: No such file"):
        load(file)
    (tmp_path / "key").write_bytes(b"k" * 31 + b"\n")
    with pytest.raises(ConfigError, match="the key has 31 bytes, expected 32 at least"):
        load(file)
    (tmp_path / "key").write_bytes(b"k" * 32 + b"\n")
    assert load(file).secrets.token_key_file == "key"


def test_a_key_from_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "edge.toml"
    file.write_text(SIMPLE + '[secrets]\ntoken_key_env = "SIPEDGE_TEST_KEY"\n')
    with pytest.raises(ConfigError, match=r"edge\.toml:13: secrets\.token_key_env: the environment has no variable"):
        load(file)
    monkeypatch.setenv("SIPEDGE_TEST_KEY", "k" * 32)
    assert token_key(load(file).secrets, tmp_path) == b"k" * 32


def test_more_groups_than_there_are_numbers_for():
    groups = "".join(f'[[group]]\nname = "g{number}"\naddresses = ["10.0.{number}.0/24"]\n' for number in range(256))
    assert faults(SIMPLE + groups) == ["edge.toml:777: group[256]: expected at most 256 of them"]


def test_more_listeners_than_there_is_room_for():
    def listeners(count):
        return "".join(f'[[listener]]\nname = "l{number}"\nbind = "udp:127.0.1.{number}:5060"\n'
                       for number in range(count))

    assert faults(SIMPLE + listeners(32)) == ["edge.toml:105: listener[32]: expected at most 32 of them"]
    build_proxy(decode(SIMPLE + listeners(31)), secret=bytes(32))


def test_a_target_needs_a_listener_of_its_transport():
    assert faults(SIMPLE.replace("udp:", "tcp:")) == [
        'edge.toml:9: upstream[0].targets[0].transport: no listener is bound to udp; expected one such as '
        '"udp:203.0.113.5:5060"']
    decode(SIMPLE.replace("udp:", "tcp:").replace("192.0.2.9:5060", "pbx.example.com"))
    decode(SIMPLE.replace("192.0.2.9:5060", "[::ffff:192.0.2.9]:5060"))

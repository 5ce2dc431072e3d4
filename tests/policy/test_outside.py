"""The tables about servers outside: what is wrong with them, and where."""
import pytest

from proxy.config import ConfigError

from .sample import policy

API = '[api]\nbind = "127.0.0.1:8080"\ntoken_file = "tokens"\n'


def fault(text: str) -> str:
    """The only problem, without file and line."""
    with pytest.raises(ConfigError) as found:
        policy(text)
    (line,) = str(found.value).splitlines()
    return line.partition(": ")[2]


def test_all_of_them_at_once():
    config = policy(API + """\
[database]
url = "postgresql+asyncpg://db.example/sipedge"
[[webhook]]
name = "all"
url = "https://hooks.example/a?b=c"
secret_file = "key"
[[webhook]]
name = "some"
url = "http://127.0.0.1:9000"
events = ["call.*", "transfer.completed", "*"]
[[request]]
name = "crm-1"
url = "http://[::1]:9000/x"
fallback = '{"data": {"name": "nobody"}}'
[model]
url = "http://127.0.0.1:8000/v1"
model = "m"
[speech]
url = "http://127.0.0.1:8000/v1"
model = "m"
voice = "v"
""").config
    assert len(config.webhooks) == 2


@pytest.mark.parametrize(("text", "path"), [
    ('[api]\nbind = "127.0.0.1"\n', "api.bind"), ('[api]\nbind = "localhost:80"\n', "api.bind"),
    ('[api]\nbind = "0.0.0.0:8080"\n', "api.token_file"), ('[api]\nbind = "192.0.2.1:8080"\n', "api.token_file"),
    ('[api]\ntoken_file = "a"\ntoken_env = "B"\n', "api.token_env"),
    ('[database]\nurl = "mysql://user:secret@host/db"\n', "database.url"),
    ('[[webhook]]\nname = "a"\nurl = "ftp://x"\n', "webhook[0].url"),
    ('[[webhook]]\nname = "a"\nurl = "https://u:p@host/"\n', "webhook[0].url"),
    ('[[webhook]]\nname = "a"\nurl = "https:///x"\n', "webhook[0].url"),
    ('[[webhook]]\nname = "a"\nurl = "http://host:99999/"\n', "webhook[0].url"),
    ('[[webhook]]\nname = "a"\nurl = "http://a b/"\n', "webhook[0].url"),
    ('[[webhook]]\nname = "a"\nurl = "http://a/"\nevents = ["calls.*"]\n', "webhook[0].events[0]"),
    ('[[webhook]]\nname = "a"\nurl = "http://a/"\ntimeout = 0.0\n', "webhook[0].timeout"),
    ('[[webhook]]\nname = "a"\nurl = "http://a/"\nsecret_env = "A"\nsecret_file = "b"\n', "webhook[0].secret_env"),
    ('[[request]]\nname = "a b"\nurl = "http://a/"\n', "request[0].name"),
    ('[[request]]\nname = "a"\nurl = "a"\n', "request[0].url"),
    ('[[request]]\nname = "a"\nurl = "http://a/"\nfallback = "[1]"\n', "request[0].fallback"),
    ('[[request]]\nname = "a"\nurl = "http://a/"\nfallback = "{"\n', "request[0].fallback"),
    ('[[request]]\nname = "a"\nurl = "http://a/"\ntimeout = 0.0\n', "request[0].timeout"),
    ('[[request]]\nname = "a"\nurl = "http://a/"\n[[request]]\nname = "a"\nurl = "http://a/"\n', "request[1].name"),
    ('[model]\nurl = "http://a/v1"\n', "model.model"), ('[model]\nurl = "x"\nmodel = "m"\n', "model.url"),
    ('[model]\nkey_file = "a"\nkey_env = "b"\n', "model.key_env"),
    ('[speech]\nprogram = []\n', "speech.program"), ('[speech]\nurl = "http://a/"\nmodel = "m"\n', "speech.voice"),
])
def test_what_is_wrong_and_where(text, path):
    assert fault(text).startswith(f"{path}: ")


def test_a_password_in_a_database_url_is_not_repeated():
    assert "secret" not in fault('[database]\nurl = "mysql://user:secret@host/db"\n')

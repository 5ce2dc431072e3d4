"""What may be wrong with realms, credentials and registrations, and what `sipedge check` remarks."""
import pytest

from proxy.config import ConfigError, decode
from proxy.policy.authproblems import auth_remarks
from proxy.policy.validate import problems_of

from .sample import BASE, PBX

REALM = '[[realm]]\nname = "phones"\nrealm = "example.com"\nusers_env = "USERS"\n'
ACCOUNT = 'credentials = [{realm = "trunk", user = "edge", secret_env = "SECRET"}]\n'
REGISTRATION = '[[registration]]\nupstream = "pbx"\naor = "sip:edge@trunk.example"\n'
ROUTE = '[[route]]\nto = "pbx"\n'


def wrong(text: str, base: str = BASE) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        decode(base + text, problems_of, file="edge.toml")
    return [(".".join(map(str, problem.path)), problem.text) for problem in caught.value.problems]


@pytest.mark.parametrize(("text", "where", "why"), [
    (REALM.replace('users_env = "USERS"\n', ""), "realm.0.users_file", "found neither"),
    (REALM + 'users_file = "u"\n', "realm.0.users_env", "found both"),
    (REALM + 'algorithms = ["MD5", "MD5"]\n', "realm.0.algorithms", "each once"),
    (REALM + REALM, "realm.1.name", "a second realm"),
    (PBX + ROUTE + 'auth = "phones"\n', "route.0.auth", 'no realm is called "phones"'),
    (REALM + PBX + ROUTE + 'auth_users = ["a"]\n', "route.0.auth_users", "expected a group with `auth`"),
    (PBX + ACCOUNT.replace(', secret_env = "SECRET"', ""), "upstream.0.credentials.0.secret_file", "found neither"),
    (PBX + ACCOUNT.replace("}]", '}, {realm = "trunk", user = "x", secret_env = "X"}]'),
     "upstream.0.credentials.1.realm", "each realm once"),
    ('[[upstream]]\nname = "request-uri"\n' + ACCOUNT, "upstream.0.credentials", "expected one at least"),
    (REGISTRATION, "registration.0.upstream", "no upstream is called"),
    (PBX + REGISTRATION + 'listener = "x"\n', "registration.0.listener", "no listener is called"),
    (PBX + REGISTRATION + REGISTRATION, "registration.1.aor", "registered there already"),
    (PBX + REGISTRATION + "longest_retry = 1\n", "registration.0.longest_retry", "expected at least retry"),
    *[(PBX + REGISTRATION.replace("sip:edge@trunk.example", aor), "registration.0.aor", "expected")
      for aor in ("tel:+4930", "sip:trunk.example", "sips:a@b.example", "sip:a@b;x=y", "edge@trunk", "sip:a@b?x=y")],
])
def test_what_is_wrong(text, where, why):
    [(path, said)] = wrong(text)
    assert path == where
    assert why in said


def test_a_realm_has_no_quotes():
    [(path, _)] = wrong(REALM.replace('"example.com"', "'a\"b'"))
    assert path == "realm.0.realm"


def test_remarks():
    def remarks(text: str) -> list[str]:
        return auth_remarks(decode(BASE + text, problems_of, file="edge.toml"))

    account = PBX + ACCOUNT
    assert remarks(PBX + ROUTE) == []
    assert remarks(account + ROUTE + "control = true\n") == []
    assert remarks(account + REGISTRATION) == []
    [text] = remarks(account + ROUTE)
    assert 'upstream "pbx" has credentials, but calls are only forwarded there' in text
    [text] = remarks(account)
    assert "sent there by no route" in text
    [text] = remarks(PBX + REGISTRATION)
    assert "the registration of sip:edge@trunk.example answers no challenge" in text

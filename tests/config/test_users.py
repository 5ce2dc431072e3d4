"""The texts of digest secrets: what is read, and that no error names a secret."""
import pytest

from proxy.config import Credentials, Realm
from proxy.config.users import hashes_of, users_of

REALM = Realm(name="phones", realm="example.com", users_file="users")
MD5 = "8a3b26bc1d0ca7e9e23b0ca4b3aa8bd6"
SHA = "5d1b6b6b" * 8


def test_hashes_and_passwords():
    text = f"# our phones\n\nann:{{PLAIN}}s:e c\nbob:example.com:{MD5.upper()}\nbob:example.com:{SHA}\n"
    users = users_of(text.encode(), REALM)
    assert users["bob"] == {"MD5": MD5, "SHA-256": SHA}
    assert set(users["ann"]) == {"MD5", "SHA-256"}
    # printf 'ann:example.com:s:e c' | md5sum
    assert users["ann"]["MD5"] == "6c914b15ce5235ae2d769c3bf8f79c08"


@pytest.mark.parametrize(("text", "why"), [
    ("", "no users"), ("secret", "line 1"), (":example.com:" + MD5, "line 1"), ("a\x01:{PLAIN}secret", "line 1"),
    ("ann:{PLAIN}", "empty"), ("ann:elsewhere:" + MD5, "not of the realm"), ("ann:example.com:secret", "line 1"),
    ("ann:{PLAIN}secret\nann:{PLAIN}secret", "line 2"), ("ann:example.com:" + MD5, "no hash for SHA-256"),
    (b"ann:{PLAIN}\xffsecret", "not UTF-8"),
])
def test_what_is_wrong_is_said_without_the_secret(text, why):
    with pytest.raises(ValueError, match=why) as caught:
        users_of(text if isinstance(text, bytes) else text.encode(), REALM)
    assert "secret" not in str(caught.value).replace("a secret already", "")
    assert MD5 not in str(caught.value)


def test_what_the_edge_has_for_an_upstream():
    plain = Credentials(realm="Mufasa's", user="u", secret_env="X")
    hashed = Credentials(realm="r", user="u", secret_env="X", hashed=True)
    assert set(hashes_of(b"secret\n", plain)) == {"MD5", "SHA-256"}
    assert hashes_of(f"{MD5}\n".encode(), hashed) == {"MD5": MD5}
    assert hashes_of(f"{SHA}\n{MD5}".encode(), hashed) == {"MD5": MD5, "SHA-256": SHA}
    for credentials, text in ((plain, b"\n"), (hashed, b""), (hashed, b"secret"), (plain, b"\xff")):
        with pytest.raises(ValueError, match=r"expected|UTF-8"):
            hashes_of(text, credentials)

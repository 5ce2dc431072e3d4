"""A peer that answers digest challenges, for tests: by RFC 7616, not with the edge's own code."""
import hashlib
import re

from tests.endpoints import Received

HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def challenges(response: Received) -> list[dict[str, str]]:
    """The parameters of each challenge of a 401 or 407."""
    name = "WWW-Authenticate" if response.name == "401" else "Proxy-Authenticate"
    return [parameters(value) for value in response.headers(name)]


def parameters(value: str) -> dict[str, str]:
    scheme, _, rest = value.partition(" ")
    assert scheme == "Digest"
    return {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', rest)}


def credentials(response: Received, user: str, password: str, method: str, uri: str, *, algorithm: str = "",
                count: int = 1, body: bytes = b"", cnonce: str = "0a4f113b", qop: str = "auth") -> tuple[str, str]:
    """The header that answers a challenge, the first one or that of an algorithm."""
    challenge = next(one for one in challenges(response) if not algorithm or one["algorithm"] == algorithm)
    name = "Authorization" if response.name == "401" else "Proxy-Authorization"
    return name, answer(challenge, user, password, method, uri, count=count, body=body, cnonce=cnonce, qop=qop)


def answer(challenge: dict[str, str], user: str, password: str, method: str, uri: str, *, count: int = 1,
           body: bytes = b"", cnonce: str = "0a4f113b", qop: str = "auth") -> str:
    algorithm = challenge["algorithm"]

    def hashed(text: str) -> str:
        return HASHES[algorithm](text.encode()).hexdigest()

    realm, nonce = challenge["realm"], challenge["nonce"]
    about = f"{method}:{uri}"
    if qop == "auth-int":
        about += ":" + HASHES[algorithm](body).hexdigest()
    response = hashed(f"{hashed(f'{user}:{realm}:{password}')}:{nonce}:{count:08x}:{cnonce}:{qop}:{hashed(about)}")
    return (f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
            f'algorithm={algorithm}, cnonce="{cnonce}", qop={qop}, nc={count:08x}')

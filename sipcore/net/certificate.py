"""What a certificate says of whom it belongs to, and whom it proves to be there (RFC 5922)."""
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Certificate:
    """The subject alternative names of a certificate."""

    uris: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def domains(self) -> tuple[str, ...]:
        """The SIP domains that it stands for (RFC 5922 7.1), in small letters: those of its SIP URIs without a user;
        only where there are none, its DNS names. The common name counts for nothing."""
        found = tuple(domain for uri in self.uris if (domain := _domain_of(uri)))
        return found or tuple(name.lower() for name in self.names)

    def proves(self, name: str, address: str = "") -> bool:
        """Whether the peer is whom we meant: a name letter by letter (7.2: a wildcard stands for nothing), or, where
        no name is known, an IP address."""
        if name:
            return name.lower().rstrip(".") in self.domains
        return bool(address) and any(ip_address(one) == ip_address(address) for one in self.addresses)

    def __str__(self) -> str:
        return ", ".join((*self.uris, *self.names, *self.addresses)) or "no names"


def _domain_of(uri: str) -> str:
    """The host of a SIP URI that names a domain: no user, no port, no parameters; empty for any other."""
    scheme, _, rest = uri.partition(":")
    host = rest.lower()
    return host if scheme.lower() == "sip" and host and not set(host) & set("@:;?/ ") else ""

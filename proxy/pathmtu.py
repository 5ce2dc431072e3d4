"""What the kernel knows of the way to a target: the path MTU that the size budget starts from."""
import socket

IP_MTU = 14
IPV6_MTU = 24


def path_mtu(host: str, port: int) -> int:
    """The MTU in bytes of the way to an address as the kernel knows it now; 0 where it knows none.

    Sends nothing: a connected UDP socket is asked and closed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            if family == socket.AF_INET6:
                return probe.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
            return probe.getsockopt(socket.IPPROTO_IP, IP_MTU)
    except OSError:
        return 0

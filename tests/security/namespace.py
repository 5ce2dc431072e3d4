"""A network namespace of a test's own: nothing that is sent in it can reach any other machine.

The namespace lives as long as a descriptor of it is open, so that nothing is left behind whatever happens.
"""
import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNET = 0x40000000
_OWN = Path("/proc/thread-self/ns/net")
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class Namespace:
    """Only loopback, with these IPv4 networks and IPv6 addresses on it: every packet, whoever it names, stays inside.
    """

    def __init__(self, *networks: str):
        home = os.open(_OWN, os.O_RDONLY)
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            self.descriptor = os.open(_OWN, os.O_RDONLY)
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
            os.close(home)
        try:
            with self.entered():
                _ip("link", "set", "lo", "up")
                for network in networks:
                    if ":" in network:
                        _ip("address", "add", network, "dev", "lo", "nodad")
                    else:
                        # All its addresses are local: packets from them need no interface, and answers come back.
                        _ip("route", "add", "local", network, "dev", "lo")
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread opens or starts here belongs to the namespace, and stays there."""
        home = os.open(_OWN, os.O_RDONLY)
        try:
            _check(_libc.setns(self.descriptor, CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_libc.setns(home, CLONE_NEWNET), "setns")
        finally:
            os.close(home)

    def socket(self, kind: int = socket.SOCK_DGRAM, protocol: int = 0, *, family: int = socket.AF_INET,
               bind: tuple[str, int] | None = None, buffer: int = 4 << 20) -> socket.socket:
        """A socket inside; close it yourself."""
        with self.entered():
            made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
        if bind is not None:
            made.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
            made.bind(bind)
        return made

    def close(self) -> None:
        os.close(self.descriptor)


_IP_FREEBIND = 15
_SO_RCVBUFFORCE = 33


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=60, capture_output=True)

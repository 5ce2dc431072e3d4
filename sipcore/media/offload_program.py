"""The relay's program in the kernel: loaded, put at interfaces, and the memory that it shares with the relay thread.

Through libbpf, which Debian installs with iproute2. What may be missing: the library, the built program (setup.py
needs a compiler for it), the right to do this (CAP_BPF and CAP_NET_ADMIN), a kernel that can. Each is an OSError that
says so.
"""
import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from sipcore.media.offloading import FLOW_BYTES, POOL_BYTES

_CODE = Path(__file__).with_name("offload.bpf")
_LIBRARY = "libbpf.so.1"
# Of <linux/bpf.h>.
_MAP_HASH, _MAP_ARRAY, _MMAPABLE = 1, 2, 1 << 10
_SCHED_CLS, _TCX_INGRESS, _NO_EXIST = 3, 46, 1
_LOAD_MAP, _PSEUDO_MAP_FD = 0x18, 0x10
# The constants of offload.bpf.c.
_POOLS, _FLOWS, _BEAT = 0x53495031, 0x53495032, 0x53495033
_POOLS_MAX = 64
# Of <linux/rtnetlink.h>: links, addresses, routes and rules, of both IP versions.
_CHANGES = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000
_ETHERNET, _LOOPBACK = 1, 1             # a kind, an index
_SIOCGIFHWADDR = 0x8927
# Of libbpf.h.
_INGRESS, _REPLACE = 1, 1
_PRIORITY = 0x5349                      # of the filter, beside others of the interface
_LOG_BYTES = 1 << 16
_KEY, _POOL = struct.Struct("16s"), struct.Struct("=III")


class _MapOptions(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("btf", ctypes.c_uint32 * 4), ("inner", ctypes.c_uint32),
                ("flags", ctypes.c_uint32), ("extra", ctypes.c_uint64), ("node", ctypes.c_uint32),
                ("interface", ctypes.c_uint32))


class _LoadOptions(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("unused", ctypes.c_uint32 * 9), ("pointers", ctypes.c_void_p * 2),
                ("functions", ctypes.c_uint32 * 2), ("lines", ctypes.c_void_p), ("counts", ctypes.c_uint32 * 2),
                ("log_level", ctypes.c_uint32), ("log_size", ctypes.c_uint32), ("log", ctypes.c_char_p))


class _Hook(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("interface", ctypes.c_int), ("point", ctypes.c_int),
                ("parent", ctypes.c_uint32))


class _HookOptions(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("program", ctypes.c_int), ("flags", ctypes.c_uint32),
                ("id", ctypes.c_uint32), ("handle", ctypes.c_uint32), ("priority", ctypes.c_uint32))


class Program:
    """The program with room for so many pairs of ports, at the loopback interface and where these addresses are;
    without an address it is loaded only.

    filters: put it there as a traffic control filter even where the kernel has links for that (Linux 6.6); a filter
    stays where the process is killed, without effect, until the next one takes its place. OSError where it cannot be
    had.
    """

    def __init__(self, addresses: Sequence[str], pairs: int, *, filters: bool = False):
        self._library = _library()
        self._open = contextlib.ExitStack()
        self._room, self._used = pairs, 0
        try:
            self._pools = self._map(_MAP_HASH, 16, POOL_BYTES, _POOLS_MAX)
            self._flows, self.flows = self._shared(FLOW_BYTES, pairs)
            self._beat, self.beat = self._shared(8, 1)
            self.ask, self.changed = self._netlink(0), self._netlink(_CHANGES)
            self._program = self._load()
            self.interfaces = _interfaces(addresses)
            for interface in self.interfaces:
                self._attach(interface, zlib.crc32(repr(sorted(addresses)).encode()) or 1, filters)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the program away. The memory must not be used any more."""
        self._open.close()

    def add(self, address: str, first: int, pairs: int) -> int:
        """Make room for the ports of an address; returns the number of the first record, -1 where there is none: too
        many pairs, an address that stands for several, or one that is in already."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        if self._used + pairs > self._room or not any(packed):
            return -1
        key, value = _KEY.pack(packed), _POOL.pack(first, pairs, self._used)
        if self._library.bpf_map_update_elem(self._pools, key, value, ctypes.c_uint64(_NO_EXIST)) != 0:
            return -1
        self._used += pairs
        return self._used - pairs

    def _netlink(self, groups: int) -> socket.socket:
        made = self._open.enter_context(
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE))
        made.bind((0, groups))
        return made

    def _map(self, kind: int, key_bytes: int, value_bytes: int, entries: int, flags: int = 0) -> int:
        options = _MapOptions(sz=ctypes.sizeof(_MapOptions), flags=flags)
        return self._descriptor(
            self._library.bpf_map_create(kind, b"sipedge", key_bytes, value_bytes, entries, ctypes.byref(options)),
            "make a map")

    def _shared(self, value_bytes: int, entries: int) -> tuple[int, mmap.mmap]:
        made = self._map(_MAP_ARRAY, 4, value_bytes, entries, _MMAPABLE)
        size = -(-value_bytes * entries // mmap.PAGESIZE) * mmap.PAGESIZE
        return made, self._open.enter_context(contextlib.closing(mmap.mmap(made, size)))

    def _load(self) -> int:
        try:
            code = bytearray(_CODE.read_bytes())
        except FileNotFoundError:
            raise OSError("the build had no compiler for it (bpf-gcc, Debian package gcc-bpf)") from None
        maps = {_POOLS: self._pools, _FLOWS: self._flows, _BEAT: self._beat}
        for at in range(0, len(code), 8):
            if code[at] == _LOAD_MAP and (constant := int.from_bytes(code[at + 4:at + 8], "little")) in maps:
                code[at + 1] |= _PSEUDO_MAP_FD
                code[at + 4:at + 8] = maps[constant].to_bytes(4, "little")
        log = ctypes.create_string_buffer(_LOG_BYTES)
        options = _LoadOptions(sz=ctypes.sizeof(_LoadOptions), log_size=_LOG_BYTES, log=ctypes.addressof(log))
        found = self._library.bpf_prog_load(_SCHED_CLS, b"sipedge", b"MIT", bytes(code),
                                            ctypes.c_size_t(len(code) // 8), ctypes.byref(options))
        return self._descriptor(found, "load it", log.value.decode(errors="replace"))

    def _attach(self, interface: int, handle: int, filters: bool) -> None:
        if not filters:
            link = self._library.bpf_link_create(self._program, interface, _TCX_INGRESS, None)
            if link >= 0:
                self._open.callback(os.close, link)
                return
        hook = _Hook(sz=ctypes.sizeof(_Hook), interface=interface, point=_INGRESS)
        self._library.bpf_tc_hook_create(ctypes.byref(hook))
        options = _HookOptions(sz=ctypes.sizeof(_HookOptions), program=self._program, flags=_REPLACE, handle=handle,
                               priority=_PRIORITY)
        error = self._library.bpf_tc_attach(ctypes.byref(hook), ctypes.byref(options))
        if error:
            raise OSError(-error, f"cannot put it at {socket.if_indextoname(interface)}: {os.strerror(-error)}")
        self._open.callback(self._detach, hook, handle)

    def _detach(self, hook: _Hook, handle: int) -> None:
        options = _HookOptions(sz=ctypes.sizeof(_HookOptions), handle=handle, priority=_PRIORITY)
        self._library.bpf_tc_detach(ctypes.byref(hook), ctypes.byref(options))

    def _descriptor(self, found: int, what: str, said: str = "") -> int:
        """A descriptor that the library has returned, to be closed with the others. said: the kernel's log, where the
        reason stands at the end, before figures."""
        if found < 0:
            reason = "".join(f": {line}" for line in said.splitlines()[-2:-1])
            raise OSError(-found, f"cannot {what}: {os.strerror(-found)}{reason}")
        self._open.callback(os.close, found)
        return found


def problem() -> str:
    """Why there can be no Program on this machine; nothing where there can. Puts nothing at an interface."""
    try:
        Program([], 1).close()
    except OSError as error:
        return f"the kernel's part cannot be had: {error.strerror or error}"
    return ""


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise OSError(f"{_LIBRARY} is missing (Debian package libbpf1)") from None
    library.libbpf_set_print(None)
    return library


class _InterfaceAddress(ctypes.Structure):
    """`struct ifaddrs`."""


_InterfaceAddress._fields_ = (
    ("next", ctypes.POINTER(_InterfaceAddress)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(ctypes.c_uint8)))


def _interfaces(addresses: Sequence[str]) -> list[int]:
    """The loopback interface, and those of Ethernet's kind that have one of the addresses."""
    wanted = {socket.inet_pton(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in addresses}
    found = {_LOOPBACK} if addresses else set()
    libc = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_InterfaceAddress)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        raise OSError(ctypes.get_errno(), "cannot list the addresses of this machine")
    one = first
    while one:
        address = one.contents.address
        if address:
            family = int.from_bytes(bytes(address[:2]), sys.byteorder)
            known = {int(socket.AF_INET): bytes(address[4:8]), int(socket.AF_INET6): bytes(address[8:24])}
            if known.get(family) in wanted:
                name = one.contents.name.decode()
                if _kind(name) == _ETHERNET:
                    found.add(socket.if_nametoindex(name))
        one = one.contents.next
    libc.freeifaddrs(first)
    return sorted(found)


def _kind(interface: str) -> int:
    """An interface's kind (ARPHRD_*)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, struct.pack("=16s24x", interface.encode()))
    return int(struct.unpack_from("=H", answer, 16)[0])

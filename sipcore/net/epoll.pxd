"""The kernel's epoll, as far as connections need it."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "sys/epoll.h" nogil:
    enum: EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CLOEXEC, EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
    union epoll_data:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int what, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int n, int ms)


cdef inline int epoll_set(int epoll, int what, int fd, uint32_t events, uint64_t label) noexcept nogil:
    """Watch a descriptor for these events from now on; what: EPOLL_CTL_ADD or EPOLL_CTL_MOD."""
    cdef epoll_event event
    event.events = events
    event.data.u64 = label
    return epoll_ctl(epoll, what, fd, &event)

"""By which interface packets leave (rtnetlink(7)): two questions for each stream that is handed to the kernel."""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from sipcore.media.offload cimport OFFLOAD_LOOPBACK

cdef extern from "<sys/socket.h>" nogil:
    int AF_INET, AF_INET6, MSG_DONTWAIT, MSG_TRUNC
    ssize_t send(int fd, const void* data, size_t n, int flags)
    ssize_t recv(int fd, void* data, size_t n, int flags)

cdef extern from "<linux/rtnetlink.h>" nogil:
    enum: NLM_F_REQUEST, RTM_GETROUTE, RTM_NEWROUTE, RTN_LOCAL, RTN_UNICAST, RTA_DST, RTA_SRC, RTA_OIF

    struct nlmsghdr:
        uint32_t nlmsg_len
        uint16_t nlmsg_type
        uint16_t nlmsg_flags
        uint32_t nlmsg_seq

    struct rtmsg:
        uint8_t rtm_family
        uint8_t rtm_dst_len
        uint8_t rtm_src_len
        uint8_t rtm_type

    struct rtattr:
        uint16_t rta_len
        uint16_t rta_type

cdef enum:
    MESSAGE = 1024              # bytes, more than an answer has
    CHANGES_AT_ONCE = 64        # messages that one look takes

cdef packed struct Question:
    nlmsghdr header
    rtmsg route
    rtattr attribute
    uint8_t address[16]
    rtattr from_attribute
    uint8_t from_address[16]


cdef uint32_t routes_to(const Offload* offload, const Address* target, const Address* local,
                        const Address* source) noexcept nogil:
    """The interface by which packets from the address local leave for target; OFFLOAD_LOOPBACK where both target and
    source are addresses of this machine, 0 where the kernel's program cannot send there, or is not where they come in.

    Where only one of the two is of this machine, packets would change between the loopback interface and another one,
    which the kernel forbids for what it has not made itself.
    """
    cdef uint32_t there = 0, back = 0
    # What is link-local has no route that an address alone tells.
    if target.scope == 0 and source.scope == 0:
        there = _interface(offload.ask_fd, target, local)
        back = _interface(offload.ask_fd, source, NULL)
    if (there == OFFLOAD_LOOPBACK) != (back == OFFLOAD_LOOPBACK):
        return 0
    return there if _has_program(offload, there) and _has_program(offload, back) else 0


cdef bint _has_program(const Offload* offload, uint32_t interface) noexcept nogil:
    cdef uint32_t i
    for i in range(offload.interfaces_n):
        if offload.interfaces[i] == interface:
            return True
    return False


cdef uint32_t _interface(int fd, const Address* target, const Address* local) noexcept nogil:
    """The interface of the route to an address, 0 where there is none."""
    cdef Question question
    cdef uint8_t answer[MESSAGE]
    cdef uint8_t size = 4 if target.family == 4 else 16
    cdef uint8_t* put = question.address
    cdef const nlmsghdr* header = <const nlmsghdr*>answer
    cdef const rtmsg* route = <const rtmsg*>(answer + sizeof(nlmsghdr))
    cdef const rtattr* attribute
    cdef uint32_t interface = 0, at
    cdef ssize_t n
    memset(&question, 0, sizeof(question))
    question.header.nlmsg_type = RTM_GETROUTE
    question.header.nlmsg_flags = NLM_F_REQUEST
    question.route.rtm_family = <uint8_t>(AF_INET if target.family == 4 else AF_INET6)
    question.route.rtm_dst_len = 8 * size
    question.attribute.rta_len = <uint16_t>(sizeof(rtattr) + size)
    question.attribute.rta_type = RTA_DST
    memcpy(put, target.ip, size)
    put += size
    if local != NULL:
        question.route.rtm_src_len = 8 * size
        (<rtattr*>put).rta_len = <uint16_t>(sizeof(rtattr) + size)
        (<rtattr*>put).rta_type = RTA_SRC
        memcpy(put + sizeof(rtattr), local.ip, size)
        put += sizeof(rtattr) + size
    question.header.nlmsg_len = <uint32_t>(put - <uint8_t*>&question)
    # Nothing of an earlier question is left: each is answered before send returns.
    if send(fd, &question, question.header.nlmsg_len, MSG_DONTWAIT) < 0:
        return 0
    n = recv(fd, answer, MESSAGE, MSG_DONTWAIT)
    if n < <ssize_t>(sizeof(nlmsghdr) + sizeof(rtmsg)) or header.nlmsg_type != RTM_NEWROUTE:
        return 0
    at = sizeof(nlmsghdr) + sizeof(rtmsg)
    if route.rtm_type == RTN_LOCAL:
        return OFFLOAD_LOOPBACK
    while route.rtm_type == RTN_UNICAST and at + sizeof(rtattr) <= <size_t>n:
        attribute = <const rtattr*>(answer + at)
        if attribute.rta_len < sizeof(rtattr) or at + attribute.rta_len > <size_t>n:
            break
        if attribute.rta_type == RTA_OIF and attribute.rta_len >= sizeof(rtattr) + 4:
            memcpy(&interface, answer + at + sizeof(rtattr), 4)
        at += (attribute.rta_len + 3) & ~3u
    return interface


cdef bint routes_changed(const Offload* offload) noexcept nogil:
    """Whether routes, addresses or interfaces have changed since the last look."""
    cdef uint8_t message[MESSAGE]
    cdef int i = 0
    # An error is a message that was lost: something has changed then, too.
    while i < CHANGES_AT_ONCE and _came(recv(offload.changed_fd, message, MESSAGE, MSG_DONTWAIT | MSG_TRUNC)):
        i += 1
    return i > 0


cdef bint _came(ssize_t n) noexcept nogil:
    return n >= 0 or (errno != EAGAIN and errno != EINTR)

/* What the socket layer needs and Cython's own headers lack: recvmmsg, sendmmsg, the error queue, SO_MEMINFO. */
#ifndef SIPCORE_SOCKETS_H
#define SIPCORE_SOCKETS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* ABI of the kernel's answer to SO_MEMINFO (Linux 4.12): the number of datagrams dropped for want of room. */
static inline long sipcore_socket_drops(int fd) {
    unsigned int info[SK_MEMINFO_VARS];
    socklen_t n = sizeof info;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &n) != 0 || n < sizeof info) return -1;
    return (long)info[SK_MEMINFO_DROPS];
}

/* When the kernel took in the datagram that was read last, ns of CLOCK_REALTIME; 0 where it does not say. It does from the
 * first call on, and unlike SO_TIMESTAMPNS, which writes a control message for each datagram, costs only who asks. */
static inline unsigned long long sipcore_stamped_ns(int fd) {
    struct timespec t;
    if (ioctl(fd, SIOCGSTAMPNS, &t) != 0) return 0;
    return (unsigned long long)t.tv_sec * 1000000000ull + (unsigned long long)t.tv_nsec;
}

/* The errno inside one message of the error queue, 0 where there is none. */
static inline int sipcore_queued_error(struct msghdr *m) {
    struct cmsghdr *c;
    for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
            (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) {
            struct sock_extended_err e;
            memcpy(&e, CMSG_DATA(c), sizeof e);
            return (int)e.ee_errno;
        }
    }
    return 0;
}

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103     /* Linux 4.18 */
#endif
#define SIPCORE_SEGMENT_CONTROL CMSG_SPACE(sizeof(unsigned short))

/* Let the kernel cut one message into datagrams of `size` bytes (the last one may be shorter). */
static inline void sipcore_segment(struct msghdr *m, void *control, unsigned short size) {
    struct cmsghdr *c;
    m->msg_control = control;
    m->msg_controllen = SIPCORE_SEGMENT_CONTROL;
    c = CMSG_FIRSTHDR(m);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
}

/* Begin a TCP connection from an address (its port is 0) to another; the descriptor, or -errno. */
static inline int sipcore_connect(const struct sockaddr *source, socklen_t source_n, const struct sockaddr *to,
                                  socklen_t to_n) {
    int yes = 1, unsent = 1 << 17, error, fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    if (bind(fd, source, source_n) == 0 && (connect(fd, to, to_n) == 0 || errno == EINPROGRESS)) return fd;
    error = errno;
    close(fd);
    return -error;
}
#endif

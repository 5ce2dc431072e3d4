/* What the socket layer needs and Cython's own headers lack: recvmmsg, sendmmsg, the error queue, SO_MEMINFO. */
#ifndef SIPCORE_SOCKETS_H
#define SIPCORE_SOCKETS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* ABI of the kernel's answer to SO_MEMINFO (Linux 4.12): the number of datagrams dropped for want of room. */
static inline long sipcore_socket_drops(int fd) {
    unsigned int info[SK_MEMINFO_VARS];
    socklen_t n = sizeof info;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &n) != 0 || n < sizeof info) return -1;
    return (long)info[SK_MEMINFO_DROPS];
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
#endif

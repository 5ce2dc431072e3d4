/* A producer and a consumer on ring.h for the thread sanitizer: ordered delivery, memory handed over by an item,
 * and no wake-up lost. The eventfd stands where the relay has one. Ends with 0, or says what went wrong. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "atomics.h"
#include "ring.h"

enum { ITEMS = 200000, ROOMS = 64 };

static Ring *ring;
static int wake;
static uint64_t handed[ROOMS];
static uint64_t counted;

static void *produce(void *unused) {
    uint64_t one = 1;
    for (uint64_t i = 0; i < ITEMS;) {
        uint64_t *place = ring_reserve(ring);
        if (!place) continue;
        handed[i % ROOMS] = i * 3;
        *place = i++;
        ring_publish(ring);
        relaxed_add(&counted, 1);
        if (ring_must_wake(ring) && write(wake, &one, sizeof one) != sizeof one) return NULL;
    }
    return unused;
}

int main(void) {
    struct pollfd waiting = {.events = POLLIN};
    uint64_t next = 0, ticks;
    pthread_t producer;
    /* Half as many items as rooms: a room is used again only after its item was released. */
    ring = ring_new(ROOMS / 2, sizeof(uint64_t));
    wake = waiting.fd = eventfd(0, EFD_NONBLOCK);
    if (!ring || wake < 0 || pthread_create(&producer, NULL, produce, NULL)) return 2;
    while (next < ITEMS) {
        uint64_t *item;
        if (poll(&waiting, 1, 10000) != 1 || read(wake, &ticks, sizeof ticks) != sizeof ticks) {
            fprintf(stderr, "a wake-up was lost after %lu items\n", (unsigned long)next);
            return 1;
        }
        ring_listen(ring);
        while ((item = ring_front(ring))) {
            if (*item != next || handed[next % ROOMS] != next * 3) {
                fprintf(stderr, "item %lu instead of %lu\n", (unsigned long)*item, (unsigned long)next);
                return 1;
            }
            next++;
            ring_release(ring);
        }
        if (relaxed_load(&counted) > ITEMS) return 1;
    }
    pthread_join(producer, NULL);
    ring_free(ring);
    close(wake);
    return 0;
}

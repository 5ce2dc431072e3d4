"""Sounds and digits on their way: who is due is sent, whoever is over is said to the loop.

The list of what is playing is short and looked through only when something in it is due, so a thread that plays
nothing pays one comparison a round. A place is the thread's from PLAY to PLAYED, and so are the frames of its sound.
"""
from libc.stdint cimport uint32_t, uint64_t
from sipcore.media.dtmf cimport dtmf_next
from sipcore.media.forward cimport forward_made, tell
from sipcore.media.play cimport player_next
from sipcore.media.session cimport EVENT_PLAYED, Place, Session

cdef uint64_t NEVER = <uint64_t>-1


cdef void playing_begin(Thread* thread, Session* session, uint32_t place, uint64_t now) noexcept nogil:
    """Begin what stands in a place; what was played to that side before ends."""
    cdef Place* it = &thread.places[place]
    if session.sides[it.side].playing:
        playing_end(thread, session, session.sides[it.side].playing - 1, False)
    session.sides[it.side].playing = place + 1
    it.sound.due_us = it.digits.due_us = now
    thread.playing[thread.playing_n] = place
    thread.playing_n += 1
    thread.play_at_us = now


cdef void playing_end(Thread* thread, Session* session, uint32_t place, bint whole) noexcept nogil:
    """Give a place back. whole: it was played to its end."""
    cdef Place* it = &thread.places[place]
    cdef uint32_t i
    for i in range(thread.playing_n):
        if thread.playing[i] == place:
            thread.playing_n -= 1
            thread.playing[i] = thread.playing[thread.playing_n]
            break
    session.sides[it.side].playing = 0
    tell(thread, it.session, session, EVENT_PLAYED, it.side, <uint64_t>place << 1 | whole, NULL)


cdef void playing_go_on(Thread* thread, uint64_t now) noexcept nogil:
    """Send every packet that is due."""
    cdef uint32_t i = 0, place
    cdef uint64_t next_us = NEVER
    cdef Place* it
    cdef Session* session
    cdef int n
    while i < thread.playing_n:
        place = thread.playing[i]
        it = &thread.places[place]
        session = &thread.sessions[it.session]
        n = dtmf_next(&it.digits, now, thread.made) if it.is_digits else player_next(&it.sound, now, thread.made)
        if n < 0:
            playing_end(thread, session, place, True)
            continue
        if n > 0:
            forward_made(thread, session, it.session, it.side, <size_t>n, now)
        next_us = min(next_us, it.digits.due_us if it.is_digits else it.sound.due_us)
        i += 1
    thread.play_at_us = next_us

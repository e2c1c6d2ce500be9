/* Messages between two ranks: like a collective, a group of them does what it can and comes back later for the rest. */
#include "emu/transfers.h"

#if __has_include(<nccl.h>)
#include <sched.h>

#include <cstring>

namespace emu {

void Transfers::begin() {
    begun = true;
    for (const Message &each : messages) {
        const char *name = CALL_NAMES[each.doing.call];
        if (comm->ended) fatal("%s of a communicator that is no more", name);
        if (!each.has_memory()) /* it may have been freed since the call, or a graph's capture */
            fatal("%s: the %zu bytes at %p do not lie within an allocation of the device", name, each.bytes(),
                  static_cast<void *>(each.buffer));
    }
    moved_at = seconds_now();
}

/* Messages from one rank to another follow each other. */
bool Transfers::is_next(const Message &message) const {
    for (const Message &earlier : messages) {
        if (&earlier == &message) return true;
        if (!earlier.over && earlier.doing.call == message.doing.call && earlier.doing.root == message.doing.root)
            return false;
    }
    return true;
}

/* Whether the other side has come to the same message; what both take it to be is then compared, by both. */
bool Transfers::meet(Message *message, Box *box) const {
    Doing &doing = message->doing;
    bool sends = doing.call == Send;
    std::atomic<uint64_t> &mine = sends ? box->sent : box->expected, &theirs = sends ? box->expected : box->sent;
    if (doing.number == 0) {
        doing.number = mine + 1;
        (sends ? box->sends : box->expects) = doing;
        mine.store(doing.number, std::memory_order_release);
    }
    if (theirs.load(std::memory_order_acquire) < doing.number) return false;
    const Doing &sent = box->sends, &expected = box->expects;
    if (sent.count != expected.count || sent.type != expected.type)
        fatal("ranks disagree: rank %d sends %llu %s to rank %d, which takes %llu %s", expected.root,
              (unsigned long long)sent.count, TYPE_NAMES[sent.type], sent.root, (unsigned long long)expected.count,
              TYPE_NAMES[expected.type]);
    return true;
}

/* Whether anything was done. An empty message is one empty piece: to be over means that the other side has met it. */
bool Transfers::advance(Message *message) const {
    bool sends = message->doing.call == Send, moved = false;
    int other = message->doing.root;
    Box *box = sends ? comm->peers->box(comm->rank, other) : comm->peers->box(other, comm->rank);
    if (!message->met && !(message->met = meet(message, box))) return false;
    uint64_t all = std::max<uint64_t>(1, (message->bytes() + PIECE_BYTES - 1) / PIECE_BYTES);
    while (message->pieces < all && (box->read == box->written) == sends) {
        size_t first = message->pieces++ * PIECE_BYTES, n = std::min(PIECE_BYTES, message->bytes() - first);
        if (n > 0)
            memcpy(sends ? box->piece : message->buffer + first, sends ? message->buffer + first : box->piece, n);
        (sends ? box->written : box->read)++;
        moved = true;
    }
    message->over = message->pieces == all && (!sends || box->read == box->written);
    return moved || message->over;
}

/* Whether all is done. */
bool Transfers::advance_all() {
    bool moved = true, all = false;
    while (moved && !all) {
        moved = false;
        all = true;
        for (Message &each : messages) {
            if (!each.over && is_next(each) && advance(&each)) moved = true;
            all = all && each.over;
        }
        if (moved) moved_at = seconds_now();
    }
    return all;
}

void Transfers::look_for_lost() {
    if (!comm->peers->time_to_look()) return;
    std::vector<bool> lost(messages.size());
    for (size_t i = 0; i < messages.size(); i++) lost[i] = comm->peers->is_lost(messages[i].doing.root);
    advance_all(); /* it may have done its part and then ended as it should */
    for (size_t i = 0; i < messages.size(); i++) {
        if (!lost[i] || messages[i].over) continue;
        note("%s: rank %d is gone", CALL_NAMES[messages[i].doing.call], messages[i].doing.root);
        int before = ncclSuccess; /* an abort of this rank's own stays what it is */
        comm->error.compare_exchange_strong(before, ncclRemoteError);
    }
}

void Transfers::out_of_patience() const {
    for (const Message &each : messages)
        if (!each.over)
            fatal("rank %d has waited %g s in %s of %llu %s, for rank %d", comm->rank, settings().nccl_timeout,
                  CALL_NAMES[each.doing.call], (unsigned long long)each.doing.count, TYPE_NAMES[each.doing.type],
                  each.doing.root);
}

bool Transfers::operator()(double waited) {
    if (comm->error != ncclSuccess) return true;
    if (!begun) begin();
    if (advance_all()) return true;
    look_for_lost();
    double limit = settings().nccl_timeout;
    if (waited > limit && seconds_now() - moved_at > limit) out_of_patience();
    sched_yield(); /* the peers may need this processor */
    return comm->error != ncclSuccess;
}

} // namespace emu
#endif

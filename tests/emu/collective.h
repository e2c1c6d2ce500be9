/* One collective of the stand-in for NCCL: how it gets on (collective.cc), and the communicator it belongs to. */
#ifndef KD_EMU_COLLECTIVE_H
#define KD_EMU_COLLECTIVE_H

#if __has_include(<nccl.h>)
#include <nccl.h>

#include <algorithm>

#include "emu/peers.h"
#include "emu/streams.h"

namespace emu {

/* Outlives the handle: queues and graphs may hold it. */
struct Communicator {
    std::unique_ptr<Peers> peers;
    int rank, ranks;
    std::atomic<int> error{ncclSuccess}; /* read by any thread at any time */
    std::atomic<bool> ended{false};
    std::shared_ptr<Event> turns = std::make_shared<Event>();
    uint64_t round = 0, number = 0; /* that have begun; one collective at a time, so these are the present ones */
};

enum NcclCall { AllReduce, ReduceScatter, AllGather, Broadcast, Send, Recv };
extern const char *const CALL_NAMES[];
const int KNOWN_TYPES = 12;
extern const size_t TYPE_BYTES[KNOWN_TYPES];
extern const char *const TYPE_NAMES[KNOWN_TYPES];

/* For ncclGetLastError. */
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);
const char *last_note();

/* One collective on its way; a graph keeps one that has not begun and copies it for every replay. */
class Collective {
  public:
    Collective(const std::shared_ptr<Communicator> &communicator, const Doing &what, const void *from, void *to)
        : comm(communicator), doing(what), in(static_cast<const char *>(from)), out(static_cast<char *>(to)),
          each(TYPE_BYTES[what.type]), room(SLOT_BYTES / TYPE_BYTES[what.type]),
          rounds_of_part(std::max<uint64_t>(1, (what.count + room - 1) / room)) {}

    /* Whether the buffers are memory of the device; if not, which of them is not. */
    bool has_memory(const char **name, const void **p, size_t *bytes) const;
    bool operator()(double waited);

  private:
    void begin();
    void leave_something();
    void take_all();
    bool all_are_here(double waited);
    void compare() const;
    void out_of_patience() const;
    template <class T> void reduce(T *to, uint64_t first, size_t n) const;
    void reduce_any(char *to, uint64_t first, size_t n) const;

    std::shared_ptr<Communicator> comm;
    Doing doing;
    const char *in;
    char *out;
    size_t each, room; /* bytes of an element, elements in a slot */
    uint64_t rounds_of_part, done = 0;
    bool begun = false, left = false; /* left: its part of this round */
    double moved_at = 0.0;
};

} // namespace emu

#endif
#endif

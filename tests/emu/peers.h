/* The processes of a communicator, from one of them: what nccl.cc does its collectives with. All that they share is a
 * piece of memory, in which a collective goes on by rounds: each rank leaves something in its slot, tells that it has
 * arrived, and when all have arrived reads what the others left. */
#ifndef KD_EMU_PEERS_H
#define KD_EMU_PEERS_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace emu {

const int MOST_RANKS = 16;
const size_t SLOT_BYTES = 256 << 10, PIECE_BYTES = 64 << 10;

/* What a rank is about in a round; must be the same on all. */
struct Doing {
    int call, type, op, root;
    uint64_t count, number; /* of elements; which of the communicator's collectives it is */
};

/* From one rank to one other: a message at a time, in pieces. Each side says which of its messages for the other it has
 * come to, and of what size it takes it to be; a piece is read before the next is written. */
struct Box {
    std::atomic<uint64_t> sent, expected; /* messages that the sender, the receiver has begun */
    std::atomic<uint64_t> written, read;  /* pieces, of all messages */
    Doing sends, expects;
    char piece[PIECE_BYTES];
};

class Peers {
  public:
    enum State { Assembling, Complete, Lost, TooLate };

    /* Null, with the reason, where no shared memory is to be had or the place is taken. name: as of shm_open. */
    static Peers *attach(const char *name, int ranks, int rank, const char **why);
    Peers(const Peers &) = delete;
    ~Peers();

    /* Whether all have attached by now; one that was there and is gone means Lost. Afterwards the name is no more. */
    State state();
    /* Two rounds can be in use at once: who has arrived for one has read what there was in the one before it. */
    char *slot(int rank, uint64_t round) const;
    Doing *doing(int rank, uint64_t round) const;
    void arrive(uint64_t round);
    bool has_arrived(int rank, uint64_t round) const;
    /* Gone, or gave up, without having arrived. Looks at most every few milliseconds; in between nobody is missed. */
    bool has_lost_one(uint64_t round, int *which);
    Box *box(int from, int to) const;
    /* The same in parts, for who waits for single ranks: whether to look now, and whether one is gone or gave up. What
     * it was waited for may have come before its end, and is to be asked for again afterwards. */
    bool time_to_look();
    bool is_lost(int rank) const;
    void give_up();

  private:
    struct Shared;
    Peers(Shared *memory, const char *name, int ranks, int rank);

    Shared *shared;
    char shared_name[128];
    int count, mine;
    double attached_at, looked_at;
};

double seconds_now();

} // namespace emu

#endif

/* Sends and receives of the stand-in for NCCL (transfers.cc). */
#ifndef KD_EMU_TRANSFERS_H
#define KD_EMU_TRANSFERS_H

#include "emu/collective.h"

#if __has_include(<nccl.h>)
namespace emu {

/* One send or receive; its root is the other rank. */
struct Message {
    Doing doing;
    char *buffer;
    bool met = false, over = false; /* met: the other rank has come to it */
    uint64_t pieces = 0;            /* written or read */

    size_t bytes() const { return (size_t)doing.count * TYPE_BYTES[doing.type]; }
    bool has_memory() const { return bytes() == 0 || is_device_memory(buffer, bytes()); }
};

/* The messages of a group, on their way together; a graph keeps those that have not begun and copies them for every
 * replay. Only the ranks that they are between take part. */
class Transfers {
  public:
    Transfers(const std::shared_ptr<Communicator> &communicator, const std::vector<Message> &group)
        : comm(communicator), messages(group) {}
    bool operator()(double waited);

  private:
    void begin();
    bool is_next(const Message &message) const;
    bool meet(Message *message, Box *box) const;
    bool advance(Message *message) const;
    bool advance_all();
    void look_for_lost();
    void out_of_patience() const;

    std::shared_ptr<Communicator> comm;
    std::vector<Message> messages;
    bool begun = false;
    double moved_at = 0.0;
};

} // namespace emu
#endif
#endif

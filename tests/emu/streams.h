/* Streams, events and captures from inside; streams.cc runs them, graphs.cc records them. */
#ifndef KD_EMU_STREAMS_H
#define KD_EMU_STREAMS_H

#include <deque>

#include "emu/runtime.h"

namespace emu {

/* A piece of work in a graph, and the pieces that must be done before it. */
struct Node {
    Attempt attempt;
    std::shared_ptr<Event> turns;
    std::vector<int> after;
};

struct Capture {
    std::vector<Node> nodes;
    cudaStreamCaptureMode mode;
    CUstream_st *origin;
    std::vector<CUstream_st *> members; /* streams that take part, the origin too */
    bool spoilt, ended;
};

/* Outlives the handle: a queue may hold it after cudaEventDestroy. */
struct Event {
    uint64_t recorded, done; /* how often asked for, how often come to pass */
    double milliseconds;
    std::shared_ptr<Capture> capture; /* the one it was last recorded in */
    std::vector<int> after;           /* nodes it stands for there */
};

/* Next in a stream: work, or recording an event, or waiting for its number-th recording. */
struct Step {
    enum Kind { Run, Record, Wait } kind;
    Attempt attempt;
    std::shared_ptr<Event> event;
    uint64_t number;
    bool follows; /* belongs to the same call as the step before */
};

/* Adds work to the graph that the stream is being captured into. */
void capture_work(CUstream_st *stream, Attempt attempt, const std::shared_ptr<Event> &turns);
/* Recording an event in a capture, and waiting for an event by or in a capture. */
void capture_record(CUstream_st *stream, Event *event);
cudaError_t capture_wait(CUstream_st *stream, const Event &event);
/* The legacy default stream waits for blocking streams, which it cannot while one is being captured. */
bool blocking_capture_exists();

} // namespace emu

struct CUevent_st {
    std::shared_ptr<emu::Event> event;
};

struct CUstream_st {
    std::deque<emu::Step> steps;
    bool blocking; /* with regard to the legacy default stream */
    bool closed;   /* cudaStreamDestroy was called; goes away when its work is done */
    std::shared_ptr<emu::Capture> capture;
    std::vector<int> after; /* what the next captured piece of work comes after */
};

#endif

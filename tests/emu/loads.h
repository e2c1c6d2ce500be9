/* What a program that is linked with loads.cc may tell it. */
#ifndef KD_EMU_LOADS_H
#define KD_EMU_LOADS_H

#ifdef __cplusplus
extern "C" {
#endif

/* What the launches from now on belong to; the text stays the caller's. Work that is still queued is to be waited for
 * before: a launch is counted when it runs. */
void kdiffe_emu_step(const char *name);

#ifdef __cplusplus
}
#endif

#endif

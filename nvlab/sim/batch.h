/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core, many commands at a call. */
#ifndef NVC_BATCH_H
#define NVC_BATCH_H

#include "nvc_fdp.h"
#include "nvc_kv.h"
#include "nvc_ssd.h"
#include "nvc_trace.h"
#include "nvc_zns.h"

/* Decides @n commands in order; @ranges holds the ranges of all of them. */
void batch_submit(struct nvc *c, const struct nvc_cmd *cmds, size_t n,
		  const struct nvc_range *ranges, struct nvc_decision *decisions);

/* Ranges that all @n commands take together. */
size_t batch_count_ranges(const struct nvc_cmd *cmds, size_t n);

/* Sets @written[i] to 1 where block @slba + i of @nsid holds data, else to 0. */
void batch_written(const struct nvc *c, u32 nsid, u64 slba, u64 nlb, u8 *written);

/* Sets @readable[i] to 0 where block @slba + i of @nsid was made unreadable, else to 1. */
void batch_readable(const struct nvc *c, u32 nsid, u64 slba, u64 nlb, u8 *readable);

/**
 * struct batch_stream - what one job keeps in flight
 * @cmds: its commands in order; when each is submitted is filled in
 * @decisions: of each
 * @n: how many
 * @next: of them, the next
 * @free: for each place in its queue, when it is empty, ns
 * @depth: places
 * @interval: ns from when one submission is due to when the next is
 * @due: ns, not to submit before
 * @end: ns, from which on it submits no more
 */
struct batch_stream {
	struct nvc_cmd *cmds;
	struct nvc_decision *decisions;
	size_t n;
	size_t next;
	u64 *free;
	u32 depth;
	u64 interval;
	u64 due;
	u64 end;
};

/*
 * A closed loop: each stream submits as soon as a place in its queue is empty,
 * all in the order of time. Goes on until all have ended, or until one has no
 * command left. Returns which that is, or @n at the end.
 */
size_t batch_closed(struct nvc *c, struct batch_stream *streams, size_t n);

/* Checks all that must hold for an SSD of any kind. NULL, or the condition that does not. */
const char *batch_audit(const struct nvc *c);

/* When each die, then each channel of an SSD is done, ns. Returns how many; @times may be NULL. */
u32 batch_times(const struct nvc *c, u64 *times);

#endif

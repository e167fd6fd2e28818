/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core, many commands at a call. */
#ifndef NVC_BATCH_H
#define NVC_BATCH_H

#include "nvc_ssd.h"
#include "nvc_trace.h"

/* Decides @n commands in order; @ranges holds the ranges of all of them. */
void batch_submit(struct nvc *c, const struct nvc_cmd *cmds, size_t n,
		  const struct nvc_range *ranges, struct nvc_decision *decisions);

/* Ranges that all @n commands take together. */
size_t batch_count_ranges(const struct nvc_cmd *cmds, size_t n);

/* Sets @written[i] to 1 where block @slba + i of @nsid holds data, else to 0. */
void batch_written(const struct nvc *c, u32 nsid, u64 slba, u64 nlb, u8 *written);

/* Sets @readable[i] to 0 where block @slba + i of @nsid was made unreadable, else to 1. */
void batch_readable(const struct nvc *c, u32 nsid, u64 slba, u64 nlb, u8 *readable);

/* Checks all that must hold for an SSD. Returns NULL, or the condition that does not. */
const char *batch_audit(const struct nvc *c);

/* When each die, then each channel of an SSD is done, ns. Returns how many; @times may be NULL. */
u32 batch_times(const struct nvc *c, u64 *times);

#endif

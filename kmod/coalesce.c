// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Interrupt coalescing (NVMe 1.4, 5.21.1.8): a vector of I/O queues waits for
 * more completions, up to a number and a time. Each worker counts for itself.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>

#include "nvlab.h"

/* The unit of the aggregation time. */
#define NVL_COALESCE_NS	(100 * NSEC_PER_USEC)

/**
 * nvl_coalesce_count() - a completion was posted for a vector
 * @w: the worker, locked
 * @vector: the vector
 */
void nvl_coalesce_count(struct nvl_worker *w, u16 vector)
{
	struct nvl_held *held = &w->held[vector];

	if (!held->count++)
		held->since = ktime_get_ns();
}

/**
 * nvl_coalesce_holds() - whether a vector shall wait for more completions
 * @w: the worker, locked
 * @vector: the vector, which has something to tell
 *
 * Return: true if so; then @w->hold says until when at most.
 */
bool nvl_coalesce_holds(struct nvl_worker *w, u16 vector)
{
	struct nvl_ctrl *ctrl = w->ctrl;
	u32 config = READ_ONCE(ctrl->coalescing);
	struct nvl_held *held = &w->held[vector];
	u32 threshold = config & 0xff;	/* 0's based */
	u64 until = held->since + (config >> 8 & 0xff) * NVL_COALESCE_NS;

	if (threshold && held->count && held->count <= threshold &&
	    !test_bit(vector, ctrl->vector_config) && ktime_get_ns() < until) {
		w->hold = min(w->hold, until);
		return true;
	}
	held->count = 0;
	return false;
}

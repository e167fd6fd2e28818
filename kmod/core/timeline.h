/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time of something that does one thing at a time: a channel, a link. */
#ifndef NVC_CORE_TIMELINE_H
#define NVC_CORE_TIMELINE_H

#include "nvc_types.h"

#define SSD_GAPS 8

/**
 * struct ssd_gap - a time that nobody wanted yet
 * @from: ns
 * @to: ns
 */
struct ssd_gap {
	u64 from;
	u64 to;
};

/**
 * struct ssd_timeline - when something that does one thing at a time is taken
 * @end: of the last booking
 * @gaps: free times before @end that are remembered
 * @first: where the earliest of them is in the ring
 * @last: no gap ends later
 * @gap: the ring
 */
struct ssd_timeline {
	u64 end;
	u32 gaps;
	u32 first;
	u64 last;
	struct ssd_gap gap[SSD_GAPS];
};

/* Does one thing after all others; the time that nobody wanted before it is remembered. */
static inline u64 ssd_book_last(struct ssd_timeline *t, u64 now, u64 ready, u64 duration)
{
	u64 free = nvc_max(t->end, now);

	if (ready > free) {
		t->gap[(t->first + t->gaps) % SSD_GAPS] = (struct ssd_gap){ free, ready };
		t->last = ready;
		if (t->gaps == SSD_GAPS)
			t->first++;
		else
			t->gaps++;
		free = ready;
	}
	t->end = free + duration;
	return t->end;
}

u64 nvc_timeline_fill(struct ssd_timeline *t, u64 now, u64 ready, u64 duration);

/**
 * ssd_book() - do one thing as early as possible
 * @t: what does it
 * @now: ns; nothing will ever be ready before
 * @ready: ns, from which on it can be done
 * @duration: ns
 *
 * Return: ns, when it is done.
 */
static inline u64 ssd_book(struct ssd_timeline *t, u64 now, u64 ready, u64 duration)
{
	if (!duration)
		return ready;
	if (ready + duration <= t->last)
		return nvc_timeline_fill(t, now, ready, duration);
	return ssd_book_last(t, now, ready, duration);
}

#endif

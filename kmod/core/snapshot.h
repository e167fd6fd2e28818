/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a snapshot has of a device's memory, and how it is looked at before it is used. */
#ifndef NVC_CORE_SNAPSHOT_H
#define NVC_CORE_SNAPSHOT_H

#include "ssd.h"

#define NVC_MAX_PARTS 20
/* No time of a snapshot is later, ns: 146 years; and no count is larger. So sums do not wrap. */
#define NVC_MOST 0x4000000000000000ULL

/**
 * struct nvc_part - a piece of a device's memory
 * @at: where, a multiple of 8
 * @bytes: how much, a multiple of 8
 */
struct nvc_part {
	void *at;
	size_t bytes;
};

static inline struct nvc_part nvc_part(const void *from, const void *to)
{
	return (struct nvc_part){ (void *)from, (const u8 *)to - (const u8 *)from };
}

/* A time or a count of a snapshot can be added to. */
static inline bool nvc_sound(u64 number)
{
	return number <= NVC_MOST;
}

bool nvc_thaw_any(struct nvc *c);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a power cut may bring back: old content of pages written lately. */
#ifndef NVLAB_UNDO_H
#define NVLAB_UNDO_H

#include <linux/spinlock.h>
#include <linux/types.h>

struct nvc_lost;
struct nvl_io;
struct nvl_subsys;

/* Locks of what is kept, a page each in turn. */
#define NVL_UNDO_LOCKS	16

/**
 * struct nvl_old - a page as it was before a write
 * @seq: the core's number of the write; 0 for none
 * @page: which page of storage
 * @kept: its content is there
 */
struct nvl_old {
	u64 seq;
	u64 page;
	bool kept;
};

/**
 * struct nvl_undo - the latest of them
 * @nr: how many, as many as the core may ask for
 * @at: where the next one goes; under the core's lock
 * @olds: a ring
 * @pages: their content
 * @locks: keep the content
 */
struct nvl_undo {
	u32 nr;
	u32 at;
	struct nvl_old *olds;
	u8 *pages;
	spinlock_t locks[NVL_UNDO_LOCKS];	/* content, against a writer who is very late */
};

int nvl_undo_alloc(struct nvl_subsys *subsys);
void nvl_undo_free(struct nvl_subsys *subsys);
void nvl_undo_reserve(struct nvl_io *io, u64 seq);
void nvl_undo_keep(const struct nvl_io *io, u64 offset, const u8 *page);
void nvl_undo_restore(struct nvl_subsys *subsys, const struct nvc_lost *lost, u32 nr);

#endif

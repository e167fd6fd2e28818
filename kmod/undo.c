// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A power cut takes back writes that were buffered, and their blocks read as
 * they did before. The core says which; their old content is kept here, for as
 * many writes as the core may name: a page for each that a command changes, in
 * the order of the core.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "io.h"

/* Sectors of the medium, as the core counts. */
#define NVL_SECTOR	512

/**
 * nvl_undo_alloc() - make room for what the core may ask for
 * @subsys: the subsystem, its core made
 *
 * Return: 0 or -ENOMEM; nvl_undo_free() undoes either.
 */
int nvl_undo_alloc(struct nvl_subsys *subsys)
{
	u32 nr = nvc_undo_units(subsys->core);
	struct nvl_undo *undo;
	int i;

	if (!nr)
		return 0;
	undo = kzalloc(sizeof(*undo), GFP_KERNEL);
	if (!undo)
		return -ENOMEM;
	subsys->undo = undo;
	undo->nr = nr;
	for (i = 0; i < NVL_UNDO_LOCKS; i++)
		spin_lock_init(&undo->locks[i]);
	undo->olds = kvcalloc(nr, sizeof(*undo->olds), GFP_KERNEL);
	undo->pages = vmalloc(array_size(nr, PAGE_SIZE));
	return undo->olds && undo->pages ? 0 : -ENOMEM;
}

/**
 * nvl_undo_free() - undo nvl_undo_alloc()
 * @subsys: the subsystem
 */
void nvl_undo_free(struct nvl_subsys *subsys)
{
	struct nvl_undo *undo = subsys->undo;

	if (!undo)
		return;
	vfree(undo->pages);
	kvfree(undo->olds);
	kfree(undo);
}

static u32 nvl_undo_next(const struct nvl_undo *undo, u32 at)
{
	return at + 1 < undo->nr ? at + 1 : 0;
}

/* Bytes that a command writes, from its first block on. */
static u64 nvl_undo_bytes(const struct nvl_io *io)
{
	u64 blocks = 0;
	u32 i;

	if (io->core.opcode == NVC_WRITE)
		return (u64)io->core.nlb << io->shift;
	for (i = 0; io->core.opcode == NVC_COPY && i < io->core.nlb; i++)
		blocks += io->w->ranges[i].nlb;
	return blocks << io->shift;
}

/**
 * nvl_undo_reserve() - places for what a command is about to change
 * @io: the command, decided upon, the core still locked
 * @seq: its number
 */
void nvl_undo_reserve(struct nvl_io *io, u64 seq)
{
	struct nvl_undo *undo = io->w->ctrl->subsys->undo;
	u64 start = io->start + (io->core.slba << io->shift);
	u64 bytes = nvl_undo_bytes(io);
	u64 page;

	if (!bytes)
		return;
	io->seq = seq;
	io->kept_at = undo->at;
	for (page = start / PAGE_SIZE; page <= (start + bytes - 1) / PAGE_SIZE; page++) {
		undo->olds[undo->at] = (struct nvl_old){ .seq = seq, .page = page };
		undo->at = nvl_undo_next(undo, undo->at);
	}
}

/**
 * nvl_undo_keep() - keep a page as it is, before the command in hand writes to it
 * @io: the command
 * @offset: of a byte of the page in storage
 * @page: the page, locked
 */
void nvl_undo_keep(const struct nvl_io *io, u64 offset, const u8 *page)
{
	struct nvl_undo *undo = io->w->ctrl->subsys->undo;
	u64 first = (io->start + (io->core.slba << io->shift)) / PAGE_SIZE;
	u32 at = (io->kept_at + (u32)(offset / PAGE_SIZE - first)) % undo->nr;
	spinlock_t *lock = &undo->locks[at % NVL_UNDO_LOCKS];
	struct nvl_old *old = &undo->olds[at];

	spin_lock(lock);
	/* one that is so late that its place is another's need not be kept any more */
	if (READ_ONCE(old->seq) == io->seq && !old->kept) {
		memcpy(undo->pages + (size_t)at * PAGE_SIZE, page, PAGE_SIZE);
		old->kept = true;
	}
	spin_unlock(lock);
}

static void nvl_undo_put(struct nvl_subsys *subsys, u32 at, const struct nvc_lost *lost)
{
	u64 offset = lost->first * NVL_SECTOR;
	u32 len = lost->count * NVL_SECTOR;
	const u8 *old = subsys->undo->pages + (size_t)at * PAGE_SIZE;
	u8 *now = nvl_store_at(subsys, offset, &len);

	memcpy(now, old + offset_in_page(offset), len);
}

/**
 * nvl_undo_restore() - have blocks read as they did before writes that are lost
 * @subsys: the subsystem, with no command in hand
 * @lost: as nvc_cut() says: newest first, as they lie in the ring
 * @nr: how many
 */
void nvl_undo_restore(struct nvl_subsys *subsys, const struct nvc_lost *lost, u32 nr)
{
	struct nvl_undo *undo = subsys->undo;
	u32 at = nr ? undo->at : 0;
	u32 back = 0;
	u32 i;

	for (i = 0; i < nr; i++) {
		u64 page = lost[i].first * NVL_SECTOR / PAGE_SIZE;

		while (back <= undo->nr &&
		       (undo->olds[at].seq != lost[i].seq || undo->olds[at].page != page)) {
			at = at ? at - 1 : undo->nr - 1;
			back++;
		}
		if (back > undo->nr) {
			pr_warn("%s: nothing was kept of page %llu\n", subsys->name, page);
			break;
		}
		/* else a Copy of blocks that read as zeros, which moved nothing */
		if (undo->olds[at].kept)
			nvl_undo_put(subsys, at, &lost[i]);
	}
	for (i = 0; undo && i < undo->nr; i++)
		undo->olds[i].seq = 0;
}

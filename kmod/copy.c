// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The data of I/O commands. A page of storage is touched under its lock, so
 * that a logical block is never seen half old and half new, whatever the
 * pieces of host memory it comes from or goes to.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/string.h>

#include "io.h"
#include "nvc_kv.h"

/* A place in the segments of a command. */
struct nvl_cursor {
	const struct nvl_segment *segment;
	u32 done;
};

/* What is done with a piece of storage and a piece of host memory. */
typedef bool (*nvl_piece)(u8 *store, u8 *host, u32 len);

/* The next @len bytes at most of the host's memory, in one piece. */
static u8 *nvl_cursor_take(struct nvl_cursor *at, u32 *len)
{
	u8 *addr = at->segment->addr + at->done;

	*len = min(*len, at->segment->len - at->done);
	at->done += *len;
	if (at->done == at->segment->len) {
		at->segment++;
		at->done = 0;
	}
	return addr;
}

/**
 * nvl_gather() - copy from host memory
 * @segments: where it is; a thing in it may straddle two of them
 * @to: where to
 * @bytes: how many
 */
void nvl_gather(const struct nvl_segment *segments, void *to, u32 bytes)
{
	struct nvl_cursor at = { segments };
	u32 part;

	for (; bytes; bytes -= part, to += part) {
		const u8 *from;

		part = bytes;
		from = nvl_cursor_take(&at, &part); /* says how much */
		memcpy(to, from, part);
	}
}

/**
 * nvl_scatter() - copy to host memory
 * @segments: where to
 * @nr: how many
 * @from: what to copy
 * @bytes: how many; what is left of the segments is zeroed
 */
void nvl_scatter(const struct nvl_segment *segments, u32 nr, const void *from, u32 bytes)
{
	u32 i, part;

	for (i = 0; i < nr; i++) {
		part = min(segments[i].len, bytes);
		memcpy(segments[i].addr, from, part);
		memset(segments[i].addr + part, 0, segments[i].len - part);
		from += part;
		bytes -= part;
	}
}

/* Locks the page of storage at @offset, and cuts @len to what of it follows. */
static u8 *nvl_store_lock(struct nvl_subsys *subsys, u64 offset, u32 *len)
	__acquires(nvl_page_lock(subsys, offset))
{
	*len = min_t(u32, *len, PAGE_SIZE - offset_in_page(offset));
	spin_lock(nvl_page_lock(subsys, offset));
	return nvl_store_at(subsys, offset, len);
}

static void nvl_store_unlock(struct nvl_subsys *subsys, u64 offset)
	__releases(nvl_page_lock(subsys, offset))
{
	spin_unlock(nvl_page_lock(subsys, offset));
}

static bool nvl_piece_write(u8 *store, u8 *host, u32 len)
{
	memcpy(store, host, len);
	return true;
}

static bool nvl_piece_read(u8 *store, u8 *host, u32 len)
{
	memcpy(host, store, len);
	return true;
}

static bool nvl_piece_zero(u8 *store, u8 *host, u32 len)
{
	memset(host, 0, len);
	return true;
}

static bool nvl_piece_equal(u8 *store, u8 *host, u32 len)
{
	return !memcmp(store, host, len);
}

static bool nvl_piece_blank(u8 *store, u8 *host, u32 len)
{
	return !memchr_inv(host, 0, len);
}

/* Inlined into each caller, and @piece into it. */
static __always_inline bool nvl_walk(struct nvl_io *io, struct nvl_cursor *at, u64 offset,
				     u32 left, nvl_piece piece)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;
	bool good = true;

	while (left && good) {
		u32 page = left;
		u8 *store = nvl_store_lock(subsys, offset, &page);
		u32 done, part;

		if (piece == nvl_piece_write && unlikely(io->seq))
			nvl_undo_keep(io, offset, store - offset_in_page(offset));

		for (done = 0; done < page && good; done += part) {
			u8 *host;

			part = page - done;
			host = nvl_cursor_take(at, &part);
			good = piece(store + done, host, part);
		}
		nvl_store_unlock(subsys, offset);
		offset += page;
		left -= page;
	}
	return good;
}

/**
 * nvl_io_value() - copy a value from or to the host
 * @io: the command, Store or Retrieve, the core still locked
 *
 * Return: bytes.
 */
u32 nvl_io_value(struct nvl_io *io)
{
	const struct nvc *core = io->w->ctrl->subsys->core;
	struct nvl_cursor at = { io->w->segments };
	struct nvc_kv_cursor value;
	u32 bytes, all;
	u64 place;

	nvc_kv_begin(core, &io->core, &value);
	all = value.bytes;
	while ((bytes = nvc_kv_next(core, &value, &place))) {
		if (nvl_io_writes(io))
			nvl_walk(io, &at, place, bytes, nvl_piece_write);
		else
			nvl_walk(io, &at, place, bytes, nvl_piece_read);
	}
	return all;
}

static u64 nvl_io_offset(const struct nvl_io *io, u64 slba)
{
	return io->start + (slba << io->shift);
}

/* A read or a comparison, of blocks that all hold data, or all do not. */
static bool nvl_io_take(struct nvl_io *io, struct nvl_cursor *at, u64 slba, u32 nlb,
			bool written)
{
	u64 offset = nvl_io_offset(io, slba);
	u32 bytes = nlb << io->shift;

	if (io->core.opcode == NVC_COMPARE)
		return written ? nvl_walk(io, at, offset, bytes, nvl_piece_equal) :
				 nvl_walk(io, at, offset, bytes, nvl_piece_blank);
	return written ? nvl_walk(io, at, offset, bytes, nvl_piece_read) :
			 nvl_walk(io, at, offset, bytes, nvl_piece_zero);
}

static u32 nvl_io_run(struct nvl_io *io, u64 slba, u32 nlb, bool *written)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;
	u32 run;

	if (io->locked)
		return nvc_run(subsys->core, io->core.nsid, slba, nlb, written);
	spin_lock(&subsys->core_lock);
	run = nvc_run(subsys->core, io->core.nsid, slba, nlb, written);
	spin_unlock(&subsys->core_lock);
	return run;
}

/* What holds data must not change from one stretch to the next: a page would be seen torn. */
static bool nvl_io_take_mixed(struct nvl_io *io, struct nvl_cursor *at)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;
	u64 slba = io->core.slba;
	u32 left = io->core.nlb;
	bool good = true;
	bool written;
	u32 run;

	spin_lock(&subsys->core_lock);
	for (; left && good; left -= run, slba += run) {
		run = nvc_run(subsys->core, io->core.nsid, slba, left, &written);
		good = nvl_io_take(io, at, slba, run, written);
	}
	spin_unlock(&subsys->core_lock);
	return good;
}

static void nvl_copy_block(struct nvl_io *io, u64 from, u64 to)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;
	u32 len = 1U << io->shift;
	u8 *at;

	at = nvl_store_lock(subsys, from, &len);
	memcpy(io->w->bounce, at, len);
	nvl_store_unlock(subsys, from);
	at = nvl_store_lock(subsys, to, &len);
	if (io->seq)
		nvl_undo_keep(io, to, at - offset_in_page(to));
	memcpy(at, io->w->bounce, len);
	nvl_store_unlock(subsys, to);
}

/* The core has noted at the destination which blocks have data to be copied. */
static void nvl_copy_range(struct nvl_io *io, u64 from, u64 to, u32 left)
{
	bool written;
	u32 i, run;

	for (; left; left -= run, from += run, to += run) {
		run = nvl_io_run(io, to, left, &written);
		for (i = 0; written && i < run; i++)
			nvl_copy_block(io, nvl_io_offset(io, from + i),
				       nvl_io_offset(io, to + i));
	}
}

static void nvl_copy_ranges(struct nvl_io *io)
{
	const struct nvc_range *ranges = io->w->ranges;
	u64 to = io->core.slba;
	u32 i;

	for (i = 0; i < io->core.nlb; i++) {
		nvl_copy_range(io, ranges[i].slba, to, ranges[i].nlb);
		to += ranges[i].nlb;
	}
}

/**
 * nvl_io_move() - move the data of a command, or compare them
 * @io: the command
 * @data: what the core said, enum nvc_data
 *
 * Return: status field: success, or that a Compare failed.
 */
u16 nvl_io_move(struct nvl_io *io, u16 data)
{
	struct nvl_cursor at = { io->w->segments };
	bool good = true;

	if (data == NVC_DATA_NONE)
		return 0;
	if (nvl_io_writes(io))
		nvl_walk(io, &at, nvl_io_offset(io, io->to), io->bytes, nvl_piece_write);
	else if (io->core.opcode == NVC_COPY)
		nvl_copy_ranges(io);
	else if (data == NVC_DATA_MIXED)
		good = nvl_io_take_mixed(io, &at);
	else
		good = nvl_io_take(io, &at, io->core.slba, io->core.nlb,
				   data == NVC_DATA_COPY);
	return good ? 0 : NVME_SC_COMPARE_FAILED | NVL_DNR;
}

/**
 * nvl_io_corrupt() - a fault: of a write what is stored, of a read what the host gets
 * @io: the command
 * @at: which byte
 */
void nvl_io_corrupt(struct nvl_io *io, u32 at)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;
	struct nvl_cursor host = { io->w->segments };
	u32 one = 1;
	u32 part;
	u8 *byte;

	if (nvl_io_writes(io)) {
		byte = nvl_store_at(subsys, nvl_io_offset(io, io->to) + at, &one);
	} else {
		for (; at; at -= part) {
			part = at;
			nvl_cursor_take(&host, &part);
		}
		byte = nvl_cursor_take(&host, &one);
	}
	*byte = ~*byte;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I/O commands, run to completion: the core decides, copy.c moves the data
 * outside its lock, and the worker completes when the time has come.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>

#include "fdp.h"
#include "io.h"
#include "trace.h"

/* Deallocate, of Write Zeroes: bit 25 of double word 12 */
#define NVL_WZ_DEAC	BIT(9)

/* Descriptor format, of Copy: bits 11:8 of double word 12 */
#define NVL_COPY_FORMAT	0xf00

/* Source range of Copy, format 0. */
struct nvl_copy_source {
	__le64 reserved;
	__le64 slba;
	__le16 nlb;
	__le16 more[7];
};

/**
 * nvl_io_map() - find the host memory of a command
 * @io: the command
 * @bytes: of its data, up to nvl_max_transfer()
 *
 * Return: status field.
 */
u16 nvl_io_map(struct nvl_io *io, u32 bytes)
{
	bool to_host = io->core.opcode == NVC_READ || io->core.opcode == NVC_ZONE_RECEIVE ||
		       io->core.opcode == NVC_KV_LIST || io->core.opcode == NVC_IO_RECEIVE;

	io->bytes = bytes;
	return nvl_prp_map(io->w->ctrl, io->cmd, bytes, to_host, io->w->segments,
			   &io->nr_segments);
}

/* Bit 30 of double word 12, of all commands that have it. */
static void nvl_io_fua(struct nvl_io *io)
{
	if (le16_to_cpu(io->cmd->rw.control) & NVME_RW_FUA)
		io->core.flags |= NVC_FUA;
}

static u16 nvl_io_rw(struct nvl_io *io)
{
	u32 bytes = io->core.nlb << io->shift;

	if (bytes > nvl_max_transfer(io->w->ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	nvl_io_fua(io);
	return nvl_io_map(io, bytes);
}

/**
 * nvl_io_list() - fetch a list that a command comes with
 * @io: the command; how many there are is noted in it
 * @nr: of entries, together up to a page
 * @each: bytes of one
 *
 * Return: status field.
 */
u16 nvl_io_list(struct nvl_io *io, u32 nr, size_t each)
{
	u16 status = nvl_io_map(io, nr * each);

	if (!status)
		nvl_gather(io->w->segments, io->w->list, io->bytes);
	io->core.nlb = nr;
	return status;
}

static u16 nvl_io_dsm(struct nvl_io *io)
{
	struct nvl_worker *w = io->w;
	const struct nvme_dsm_range *list = w->list;
	u32 nr = (le32_to_cpu(io->cmd->dsm.nr) & 0xff) + 1;
	u16 status = nvl_io_list(io, nr, sizeof(*list));
	u32 i;

	for (i = 0; !status && i < nr; i++) {
		w->ranges[i].slba = le64_to_cpu(list[i].slba);
		w->ranges[i].nlb = le32_to_cpu(list[i].nlb);
	}
	if (le32_to_cpu(io->cmd->dsm.attributes) & NVME_DSMGMT_AD)
		io->core.flags = NVC_DEALLOCATE;
	return status;
}

static u16 nvl_io_sources(struct nvl_io *io)
{
	struct nvl_worker *w = io->w;
	const struct nvl_copy_source *list = w->list;
	u32 cdw12 = le32_to_cpu(io->cmd->common.cdw12);
	u32 nr = (cdw12 & 0xff) + 1;
	u16 status = nvl_fdp_directive(io);
	u32 i;

	if (cdw12 & NVL_COPY_FORMAT || status)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	nvl_io_fua(io);
	status = nvl_io_list(io, nr, sizeof(*list));
	for (i = 0; !status && i < nr; i++) {
		w->ranges[i].slba = le64_to_cpu(list[i].slba);
		w->ranges[i].nlb = le16_to_cpu(list[i].nlb) + 1;
	}
	return status;
}

/**
 * nvl_io_parse_data() - find the host memory of a command, and what is special to some
 * @io: the command, its other fields read
 *
 * Return: status field.
 */
u16 nvl_io_parse_data(struct nvl_io *io)
{
	u16 control = le16_to_cpu(io->cmd->rw.control);
	u16 status;

	switch (io->core.opcode) {
	case NVC_WRITE:
		status = nvl_fdp_directive(io);
		if (unlikely(status))
			return status;
		fallthrough;
	case NVC_READ:
	case NVC_COMPARE:
	case NVC_ZONE_APPEND:
		return nvl_io_rw(io);
	case NVC_WRITE_ZEROES:
		if (control & NVL_WZ_DEAC)
			io->core.flags = NVC_DEALLOCATE;
		fallthrough;
	case NVC_VERIFY:
		nvl_io_fua(io);
		return 0;
	case NVC_DSM:
		return nvl_io_dsm(io);
	case NVC_COPY:
		return nvl_io_sources(io);
	case NVC_IO_SEND:
	case NVC_IO_RECEIVE:
		return nvl_fdp_parse(io);
	default:
		return 0; /* the core knows */
	}
}

/* Of the command set of its namespace. */
static u16 nvl_io_parse_set(struct nvl_io *io, u32 flags)
{
	io->zoned = flags & NVC_NS_ZONED;
	io->keys = flags & NVC_NS_KEYS;
	if (likely(!io->zoned && !io->keys))
		return nvl_io_parse_data(io);
	return io->zoned ? nvl_zone_parse(io) : nvl_kv_parse(io);
}

/* Namespaces change only while no worker has a command in hand. */
static u16 nvl_io_parse(struct nvl_io *io)
{
	const struct nvme_rw_command *rw = &io->cmd->rw;
	const struct nvc_ns *ns;

	io->core.nsid = le32_to_cpu(rw->nsid);
	io->core.opcode = rw->opcode;
	io->core.slba = le64_to_cpu(rw->slba);
	io->core.nlb = le16_to_cpu(rw->length) + 1;
	/* fused commands, SGLs: not offered */
	if (rw->flags)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	ns = nvc_ns_get(io->w->ctrl->subsys->core, io->core.nsid);
	if (!ns)
		return 0; /* the core will refuse it, unless it is for all */
	io->start = ns->start;
	io->shift = ns->block_shift;
	io->to = io->core.slba;
	return nvl_io_parse_set(io, ns->flags);
}

static void nvl_io_decide(struct nvl_io *io, struct nvc_decision *d)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;

	spin_lock(&subsys->core_lock);
	io->core.now = ktime_get_ns();
	nvc_submit(subsys->core, &io->core, io->w->ranges, d);
	if (unlikely(io->zoned))
		nvl_zone_decided(io, d);
	else if (unlikely(io->keys))
		nvl_kv_decided(io, d);
	else if (unlikely(d->data == NVC_DATA_REPORT))
		nvl_fdp_report(io);
	else if (unlikely(subsys->undo) && d->data != NVC_DATA_NONE)
		nvl_undo_reserve(io, d->seq);
	if (unlikely(d->data == NVC_DATA_FRESH)) {
		io->locked = true;
		nvl_io_move(io, d->data);
		io->moved = true;
	}
	spin_unlock(&subsys->core_lock);
	nvl_trace_decided(io->w, &io->core, d);
}

static void nvl_io_data(struct nvl_io *io, struct nvc_decision *d)
{
	if (unlikely(io->filled)) /* what was asked for beyond a report reads as zeros */
		nvl_scatter(io->w->segments, io->nr_segments, io->report, io->filled);
	else if (likely(!io->moved && d->data < NVC_DATA_REPORT))
		d->status = nvl_io_move(io, d->data);
	if (unlikely(d->fault & NVC_CORRUPT) && !io->corrupted)
		nvl_io_corrupt(io, d->corrupt);
	nvl_trace_copied(io->w);
}

/**
 * nvl_io() - execute an I/O command
 * @w: the worker, locked
 * @sq: where the command came from
 * @cmd: the command
 *
 * Return: bytes copied.
 */
u32 nvl_io(struct nvl_worker *w, struct nvl_sq *sq, const struct nvme_command *cmd)
{
	struct nvl_io io = {
		.w = w, .cmd = cmd, .core.qid = sq->qid, .core.ctrl = w->ctrl->index,
	};
	u16 cid = cmd->common.command_id;
	struct nvc_decision d = {};

	d.status = nvl_io_parse(&io);
	if (!d.status)
		nvl_io_decide(&io, &d);
	if (unlikely(d.fault & NVC_LOSES)) {
		nvl_fault_lose(w, sq, d.fault);
		return 0;
	}
	if (d.status)
		io.bytes = 0;
	else
		nvl_io_data(&io, &d);
	if (unlikely(d.status)) {
		nvl_log_error(w->ctrl, sq, cmd, d.status);
		w->stats.errors++;
	}
	nvl_worker_answer(w, sq, cid, &d, io.core.now);
	return io.bytes;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I/O commands, run to completion: the core decides, the data are copied here,
 * outside its lock, and the worker completes when the time has come.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>

#include "nvlab.h"
#include "trace.h"

/* Deallocate, of Write Zeroes: bit 25 of double word 12 */
#define NVL_WZ_DEAC	BIT(9)

/* A command in hand. */
struct nvl_io {
	struct nvl_worker *w;
	const struct nvme_command *cmd;
	struct nvc_cmd core;
	u32 bytes;
	u32 nr_segments;
};

/* A place in the segments of a command. */
struct nvl_cursor {
	const struct nvl_segment *segment;
	u32 done;
};

static u16 nvl_io_map(struct nvl_io *io, u32 bytes)
{
	io->bytes = bytes;
	return nvl_prp_map(io->w->ctrl, io->cmd, bytes, io->w->segments, &io->nr_segments);
}

static u16 nvl_io_rw(struct nvl_io *io)
{
	u32 bytes = io->core.nlb << io->w->ctrl->block_shift;

	if (bytes > NVL_MAX_TRANSFER)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	return nvl_io_map(io, bytes);
}

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

/* PRPs are aligned to 4 bytes, so a range may straddle two pages. */
static void nvl_gather(const struct nvl_segment *segments, void *to, u32 bytes)
{
	struct nvl_cursor at = { segments };
	u32 part;

	for (; bytes; bytes -= part, to += part) {
		const u8 *from;

		part = bytes;
		from = nvl_cursor_take(&at, &part);
		memcpy(to, from, part);
	}
}

static u16 nvl_io_dsm(struct nvl_io *io)
{
	struct nvl_worker *w = io->w;
	u32 nr = (le32_to_cpu(io->cmd->dsm.nr) & 0xff) + 1;
	u16 status = nvl_io_map(io, nr * sizeof(*w->dsm));
	u32 i;

	if (status)
		return status;
	nvl_gather(w->segments, w->dsm, io->bytes);
	for (i = 0; i < nr; i++) {
		w->ranges[i].slba = le64_to_cpu(w->dsm[i].slba);
		w->ranges[i].nlb = le32_to_cpu(w->dsm[i].nlb);
	}
	io->core.nlb = nr;
	if (le32_to_cpu(io->cmd->dsm.attributes) & NVME_DSMGMT_AD)
		io->core.flags = NVC_DEALLOCATE;
	return 0;
}

/* Fields the core decides on, and the host memory of the data. */
static u16 nvl_io_parse(struct nvl_io *io)
{
	const struct nvme_rw_command *rw = &io->cmd->rw;
	u16 control = le16_to_cpu(rw->control);

	io->core.nsid = le32_to_cpu(rw->nsid);
	io->core.opcode = rw->opcode;
	io->core.slba = le64_to_cpu(rw->slba);
	io->core.nlb = le16_to_cpu(rw->length) + 1;
	/* fused commands, SGLs: not offered */
	if (rw->flags)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	switch (rw->opcode) {
	case nvme_cmd_read:
	case nvme_cmd_write:
		if (control & NVME_RW_FUA)
			io->core.flags = NVC_FUA;
		return nvl_io_rw(io);
	case nvme_cmd_write_zeroes:
		if (control & NVL_WZ_DEAC)
			io->core.flags = NVC_DEALLOCATE;
		return 0;
	case nvme_cmd_dsm:
		return nvl_io_dsm(io);
	default:
		return 0; /* the core knows */
	}
}

static void nvl_io_decide(struct nvl_io *io, struct nvc_decision *d)
{
	struct nvl_ctrl *ctrl = io->w->ctrl;

	spin_lock(&ctrl->core_lock);
	io->core.now = ktime_get_ns();
	nvc_submit(ctrl->core, &io->core, io->w->ranges, d);
	spin_unlock(&ctrl->core_lock);
	nvl_trace_decided(io->w, &io->core, d);
}

static void nvl_copy_write(struct nvl_io *io)
{
	struct nvl_ctrl *ctrl = io->w->ctrl;
	struct nvl_cursor at = { io->w->segments };
	u64 offset = io->core.slba << ctrl->block_shift;
	u32 left = io->bytes;
	u32 part;

	for (; left; left -= part, offset += part) {
		const u8 *from;
		u8 *to;

		part = left;
		to = nvl_region_at(ctrl, offset, &part);
		from = nvl_cursor_take(&at, &part);
		memcpy(to, from, part);
	}
}

/* @written: from storage, else zeros. */
static void nvl_copy_read(struct nvl_io *io, struct nvl_cursor *at, u64 offset,
			  u32 left, bool written)
{
	struct nvl_ctrl *ctrl = io->w->ctrl;
	u32 part;

	for (; left; left -= part, offset += part) {
		const u8 *from;
		u8 *to;

		part = left;
		from = nvl_region_at(ctrl, offset, &part);
		to = nvl_cursor_take(at, &part);
		if (written)
			memcpy(to, from, part);
		else
			memset(to, 0, part);
	}
}

static void nvl_copy_read_mixed(struct nvl_io *io)
{
	struct nvl_ctrl *ctrl = io->w->ctrl;
	struct nvl_cursor at = { io->w->segments };
	u64 slba = io->core.slba;
	u32 left = io->core.nlb;
	bool written;
	u32 run;

	for (; left; left -= run, slba += run) {
		spin_lock(&ctrl->core_lock);
		run = nvc_run(ctrl->core, slba, left, &written);
		spin_unlock(&ctrl->core_lock);
		nvl_copy_read(io, &at, slba << ctrl->block_shift,
			      run << ctrl->block_shift, written);
	}
}

static void nvl_io_copy(struct nvl_io *io, u16 data)
{
	struct nvl_cursor at = { io->w->segments };

	if (io->core.opcode == NVC_WRITE && data == NVC_DATA_COPY)
		nvl_copy_write(io);
	else if (io->core.opcode != NVC_READ || data == NVC_DATA_NONE)
		return;
	else if (data == NVC_DATA_MIXED)
		nvl_copy_read_mixed(io);
	else
		nvl_copy_read(io, &at, io->core.slba << io->w->ctrl->block_shift,
			      io->bytes, data == NVC_DATA_COPY);
}

/* A fault: of a write what is stored, of a read what the host gets. */
static void nvl_io_corrupt(struct nvl_io *io, u32 at)
{
	struct nvl_ctrl *ctrl = io->w->ctrl;
	struct nvl_cursor host = { io->w->segments };
	u32 one = 1;
	u32 part;
	u8 *byte;

	if (io->core.opcode == NVC_WRITE) {
		byte = nvl_region_at(ctrl, (io->core.slba << ctrl->block_shift) + at, &one);
	} else {
		for (; at; at -= part) {
			part = at;
			nvl_cursor_take(&host, &part);
		}
		byte = nvl_cursor_take(&host, &one);
	}
	*byte = ~*byte;
}

static void nvl_io_data(struct nvl_io *io, const struct nvc_decision *d)
{
	nvl_io_copy(io, d->data);
	if (unlikely(d->fault & NVC_CORRUPT))
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
	struct nvl_io io = { .w = w, .cmd = cmd, .core.qid = sq->qid };
	u16 cid = cmd->common.command_id;
	struct nvc_decision d = {};

	d.status = nvl_io_parse(&io);
	if (!d.status)
		nvl_io_decide(&io, &d);
	if (unlikely(d.fault & NVC_LOSES)) {
		nvl_fault_lose(w, sq, d.fault);
		return 0;
	}
	if (d.status) {
		nvl_log_error(w->ctrl, sq->qid, cmd, d.status);
		w->stats.errors++;
		io.bytes = 0;
	} else {
		nvl_io_data(&io, &d);
	}
	if (d.target <= io.core.now)
		nvl_worker_complete(w, sq, cid, d.status);
	else
		nvl_worker_wait(w, sq, cid, &d);
	return io.bytes;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One ring of the trace. Its reader can write all of it, so nothing is believed
 * that is read from it, and the only thing read is how far he has come.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>

#include "nvlab.h"
#include "trace.h"

/* The longest that a command needs beside its own record: its ranges. */
#define NVL_TRACE_SPARE	(1 + DIV_ROUND_UP(NVC_MAX_RANGES, NVC_TRACE_RANGES_EACH))

/*
 * A reader who reads nothing for so long does not hold up the device any more;
 * if the ring was looked at so often meanwhile: where the whole machine stood
 * still, as virtual ones do, he had no time either.
 */
#define NVL_TRACE_PATIENCE_NS	(5 * NSEC_PER_SEC)
#define NVL_TRACE_LOOKS		5000

/* Whoever waits for records is woken when a ring is as full as one part in so many. */
#define NVL_TRACE_WORTH	4

static u64 nvl_ring_used(const struct nvl_ring *r)
{
	/* the reader is done with a record before he says so */
	u64 used = READ_ONCE(r->tail) - smp_load_acquire(&r->shared->head);

	return min_t(u64, used, r->trace->entries);
}

/* Inlined, so that the copy is of a size known beforehand. Shown by nvl_ring_show() only. */
static __always_inline void nvl_ring_put(struct nvl_ring *r, const void *record, size_t size)
{
	u32 at = r->tail & (r->trace->entries - 1);

	if (nvl_ring_used(r) == r->trace->entries) {
		WRITE_ONCE(r->shared->overruns, r->shared->overruns + 1);
		return;
	}
	memcpy(r->records + (size_t)at * NVC_TRACE_RECORD, record, size);
	WRITE_ONCE(r->tail, r->tail + 1);
}

static void nvl_trace_give_up(struct nvl_trace *trace)
{
	if (READ_ONCE(trace->lossless))
		pr_warn("%s: its reader reads nothing; records are lost from now on\n",
			trace->name);
	WRITE_ONCE(trace->lossless, false);
}

/* A ring is full: whether to go on nevertheless. */
static bool nvl_ring_impatient(struct nvl_ring *r)
{
	u64 head = READ_ONCE(r->shared->head);
	u64 now = ktime_get_ns();

	if (!r->stalled)
		WRITE_ONCE(r->shared->stalls, r->shared->stalls + 1);
	if (!r->stalled || head != r->head) {
		WRITE_ONCE(r->stalled, now);
		r->head = head;
		r->looks = 0;
		wake_up_interruptible(&r->trace->readers);
	}
	if (++r->looks < NVL_TRACE_LOOKS || now - r->stalled < NVL_TRACE_PATIENCE_NS)
		return false;
	nvl_trace_give_up(r->trace);
	return true;
}

/**
 * nvl_ring_room() - whether a command may be fetched
 * @r: the ring
 *
 * Return: true if there is room for its records, or nobody to wait for.
 */
bool nvl_ring_room(struct nvl_ring *r)
{
	struct nvl_trace *trace = r->trace;
	bool room = !READ_ONCE(trace->lossless) ||
		    nvl_ring_used(r) + r->promised + NVL_TRACE_SPARE <= trace->entries;

	if (!room && test_bit(NVL_TRACE_OPEN, &trace->flags))
		room = nvl_ring_impatient(r);
	else
		room = true;
	if (room)
		WRITE_ONCE(r->stalled, 0);
	return room;
}

/**
 * nvl_ring_fetched() - begin the record of a command
 * @r: the ring
 * @sq: where it came from
 * @cmd: the command
 */
void nvl_ring_fetched(struct nvl_ring *r, const struct nvl_sq *sq,
		      const struct nvme_command *cmd)
{
	memset(&r->now, 0, sizeof(r->now));
	r->now.kind = NVC_TRACE_COMMAND;
	r->now.qid = sq->qid;
	r->now.cid = cmd->common.command_id;
	r->now.opcode = cmd->common.opcode;
	r->now.nsid = le32_to_cpu(cmd->common.nsid);
	r->now.interrupted = sq->cq->irq;
	r->now.fetched = r->clock ?: ktime_get_ns();
	r->promised++;
}

static void nvl_ring_put_ranges(struct nvl_ring *r, u64 seq,
				const struct nvc_range *ranges, u32 nr)
{
	struct nvc_trace_ranges record = { .seq = seq, .kind = NVC_TRACE_RANGES };

	for (; record.first < nr; record.first += record.count) {
		record.count = min_t(u32, nr - record.first, NVC_TRACE_RANGES_EACH);
		memset(record.ranges, 0, sizeof(record.ranges));
		memcpy(record.ranges, ranges + record.first,
		       record.count * sizeof(*ranges));
		nvl_ring_put(r, &record, sizeof(record));
	}
}

/* Whether a command has ranges. One that failed for its namespace may say any number of them. */
static bool nvl_ring_ranges(const struct nvc_cmd *cmd)
{
	return (cmd->opcode == NVC_DSM || cmd->opcode == NVC_COPY || cmd->opcode == NVC_IO_SEND) &&
	       cmd->nlb <= NVC_MAX_RANGES;
}

/**
 * nvl_ring_decided() - note what entered the core and what came out
 * @r: the ring
 * @cmd: what entered
 * @ranges: of Dataset Management and Copy
 * @d: what came out
 */
void nvl_ring_decided(struct nvl_ring *r, const struct nvc_cmd *cmd,
		      const struct nvc_range *ranges, const struct nvc_decision *d)
{
	r->now.seq = d->seq;
	r->now.decided = cmd->now;
	r->now.target = d->target;
	r->now.slba = cmd->slba;
	r->now.nlb = cmd->nlb;
	r->now.flags = cmd->flags;
	r->now.status = d->status;
	r->now.data = d->data;
	r->now.fault = d->fault;
	r->now.corrupt = d->corrupt;
	r->now.ctrl = cmd->ctrl;
	r->now.action = cmd->action;
	r->now.option = cmd->option;
	r->now.key = cmd->key;
	r->now.result = d->result;
	if (nvl_ring_ranges(cmd))
		nvl_ring_put_ranges(r, d->seq, ranges, cmd->nlb);
}

/**
 * nvl_ring_copied() - note when the data were copied
 * @r: the ring
 */
void nvl_ring_copied(struct nvl_ring *r)
{
	r->clock = ktime_get_ns();
	r->now.copied = r->clock;
}

/**
 * nvl_ring_post() - end the record in hand
 * @r: the ring
 * @posted: what the host got, or NVC_TRACE_NEVER
 */
void nvl_ring_post(struct nvl_ring *r, u16 posted)
{
	r->promised--;
	r->now.posted = posted;
	if (posted == NVC_TRACE_NEVER)
		r->now.interrupted = 0;
	else
		r->now.completed = r->clock ?: ktime_get_ns();
	nvl_ring_put(r, &r->now, sizeof(r->now));
}

/**
 * nvl_ring_worth() - whether there is enough in a ring to wake its reader
 * @r: the ring
 *
 * Return: true if so.
 */
bool nvl_ring_worth(const struct nvl_ring *r)
{
	u64 used = nvl_ring_used(r);

	return used && (READ_ONCE(r->stalled) || used >= r->trace->entries / NVL_TRACE_WORTH);
}

static void nvl_ring_show(struct nvl_ring *r)
{
	/* records before the count of them */
	smp_store_release(&r->shared->tail, r->tail);
	if (wq_has_sleeper(&r->trace->readers) && nvl_ring_worth(r))
		wake_up_interruptible(&r->trace->readers);
}

/**
 * nvl_ring_publish() - show the records that were ended; interrupts are next
 * @r: the ring
 */
void nvl_ring_publish(struct nvl_ring *r)
{
	u64 now = ktime_get_ns();

	for (; r->published != r->tail; r->published++) {
		u32 at = r->published & (r->trace->entries - 1);
		struct nvc_trace_command *record;

		record = (void *)(r->records + (size_t)at * NVC_TRACE_RECORD);
		if (record->kind == NVC_TRACE_COMMAND && record->interrupted)
			record->interrupted = now;
	}
	nvl_ring_show(r);
}

/**
 * nvl_trace_input() - record an input that no worker gave
 * @subsys: the subsystem, its core locked
 * @record: begins with struct nvc_trace_input
 * @size: bytes
 */
void nvl_trace_input(struct nvl_subsys *subsys, const void *record, size_t size)
{
	struct nvl_ring *r;

	if (!subsys->trace)
		return;
	r = &subsys->trace->rings[subsys->trace->nr - 1];
	nvl_ring_put(r, record, size);
	r->published = r->tail;
	nvl_ring_show(r);
}

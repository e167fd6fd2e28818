// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trace: a ring of records per worker, and one for what no worker does, in
 * memory that one reader maps through /dev/nvlab-trace-NAME. nvc_trace.h says
 * how it lies there. The reader can write all of it, so nothing is believed
 * that is read from it, and the only thing read is how far he has come.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "nvlab.h"
#include "trace.h"

/* The longest that a command needs beside its own record: its ranges. */
#define NVL_TRACE_SPARE	(1 + DIV_ROUND_UP(NVC_MAX_RANGES, NVC_TRACE_RANGES_EACH))

/* A reader who reads nothing for so long does not hold up the device any more. */
#define NVL_TRACE_PATIENCE_NS	(5 * NSEC_PER_SEC)

#define NVL_TRACE_OPEN	0

/**
 * struct nvl_trace - the rings of one controller; readers may outlive it
 * @ref: the controller's, and the reader's
 * @misc: the device node
 * @name: of the device node
 * @map: what readers map
 * @size: bytes of @map
 * @rings: the kernel's side
 * @nr: how many
 * @entries: records of each
 * @lossless: fetching waits when a ring is full and somebody reads
 * @flags: NVL_TRACE_OPEN
 */
struct nvl_trace {
	struct kref ref;
	struct miscdevice misc;
	char name[NVL_NAME_MAX + 16];
	void *map;
	size_t size;
	struct nvl_ring *rings;
	unsigned int nr;
	u32 entries;
	bool lossless;
	unsigned long flags;
};

static u64 nvl_ring_used(const struct nvl_ring *r)
{
	/* the reader is done with a record before he says so */
	u64 used = r->tail - smp_load_acquire(&r->shared->head);

	return min_t(u64, used, r->trace->entries);
}

/* Shown by nvl_ring_publish() only. */
static void nvl_ring_put(struct nvl_ring *r, const void *record, size_t size)
{
	u32 at = r->tail & (r->trace->entries - 1);

	if (nvl_ring_used(r) == r->trace->entries) {
		WRITE_ONCE(r->shared->overruns, r->shared->overruns + 1);
		return;
	}
	memcpy(r->records + (size_t)at * NVC_TRACE_RECORD, record, size);
	r->tail++;
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
		r->stalled = now;
		r->head = head;
	}
	if (now - r->stalled < NVL_TRACE_PATIENCE_NS)
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
		r->stalled = 0;
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
	r->now.fetched = ktime_get_ns();
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

/**
 * nvl_ring_decided() - note what entered the core and what came out
 * @r: the ring
 * @cmd: what entered
 * @ranges: of Dataset Management
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
	if (cmd->opcode == NVC_DSM)
		nvl_ring_put_ranges(r, d->seq, ranges, cmd->nlb);
}

/**
 * nvl_ring_copied() - note when the data were copied
 * @r: the ring
 */
void nvl_ring_copied(struct nvl_ring *r)
{
	r->now.copied = ktime_get_ns();
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
		r->now.completed = ktime_get_ns();
	nvl_ring_put(r, &r->now, sizeof(r->now));
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
	/* records before the count of them */
	smp_store_release(&r->shared->tail, r->tail);
}

/**
 * nvl_trace_input() - record an input that no worker gave
 * @ctrl: the controller, its core locked
 * @record: begins with struct nvc_trace_input
 * @size: bytes
 */
void nvl_trace_input(struct nvl_ctrl *ctrl, const void *record, size_t size)
{
	struct nvl_ring *r;

	if (!ctrl->trace)
		return;
	r = &ctrl->trace->rings[ctrl->trace->nr - 1];
	nvl_ring_put(r, record, size);
	r->published = r->tail;
	smp_store_release(&r->shared->tail, r->tail);
}

static int nvl_trace_open(struct inode *inode, struct file *file)
{
	struct nvl_trace *trace = container_of(file->private_data, struct nvl_trace, misc);

	if (test_and_set_bit(NVL_TRACE_OPEN, &trace->flags))
		return -EBUSY;
	/* not hidden yet: misc_open() keeps misc_deregister() out */
	kref_get(&trace->ref);
	file->private_data = trace;
	return 0;
}

static void nvl_trace_destroy(struct kref *ref)
{
	struct nvl_trace *trace = container_of(ref, struct nvl_trace, ref);

	vfree(trace->map);
	kvfree(trace->rings);
	kfree(trace);
}

static int nvl_trace_release(struct inode *inode, struct file *file)
{
	struct nvl_trace *trace = file->private_data;

	clear_bit(NVL_TRACE_OPEN, &trace->flags);
	kref_put(&trace->ref, nvl_trace_destroy);
	return 0;
}

static int nvl_trace_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct nvl_trace *trace = file->private_data;

	return remap_vmalloc_range(vma, trace->map, vma->vm_pgoff);
}

static const struct file_operations nvl_trace_fops = {
	.owner		= THIS_MODULE,
	.open		= nvl_trace_open,
	.release	= nvl_trace_release,
	.mmap		= nvl_trace_mmap,
};

static void nvl_trace_lay_out(struct nvl_trace *trace, u64 stride)
{
	struct nvc_trace_map *map = trace->map;
	unsigned int i;

	map->version = NVC_TRACE_VERSION;
	map->record = NVC_TRACE_RECORD;
	map->rings = trace->nr;
	map->entries = trace->entries;
	map->stride = stride;
	for (i = 0; i < trace->nr; i++) {
		u8 *at = trace->map + NVC_TRACE_PAGE + i * stride;

		trace->rings[i].trace = trace;
		trace->rings[i].shared = (struct nvc_trace_ring *)at;
		trace->rings[i].records = at + NVC_TRACE_PAGE;
	}
}

static int nvl_trace_alloc_rings(struct nvl_trace *trace)
{
	u64 stride = NVC_TRACE_PAGE + (u64)trace->entries * NVC_TRACE_RECORD;

	trace->size = NVC_TRACE_PAGE + trace->nr * stride;
	trace->rings = kvcalloc(trace->nr, sizeof(*trace->rings), GFP_KERNEL);
	trace->map = vmalloc_user(trace->size);
	if (!trace->rings || !trace->map)
		return -ENOMEM;
	nvl_trace_lay_out(trace, stride);
	return 0;
}

/**
 * nvl_trace_alloc() - make the rings, if the user wants any
 * @ctrl: the controller
 * @workers: how many it will have
 *
 * Return: 0 or -ENOMEM; nvl_trace_free() undoes either.
 */
int nvl_trace_alloc(struct nvl_ctrl *ctrl, unsigned int workers)
{
	struct nvl_trace *trace;

	BUILD_BUG_ON(sizeof(struct nvc_trace_command) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_ranges) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_config) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_timing) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_rule) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(NVC_TRACE_PAGE % PAGE_SIZE);
	if (!ctrl->set->trace)
		return 0;
	trace = kzalloc(sizeof(*trace), GFP_KERNEL);
	if (!trace)
		return -ENOMEM;
	ctrl->trace = trace;
	kref_init(&trace->ref);
	trace->nr = workers + 1;
	trace->entries = ctrl->set->trace;
	trace->lossless = ctrl->set->trace_lossless;
	snprintf(trace->name, sizeof(trace->name), "nvlab-trace-%s", ctrl->name);
	return nvl_trace_alloc_rings(trace);
}

/**
 * nvl_trace_free() - undo nvl_trace_alloc(), but for what a reader still maps
 * @ctrl: the controller
 */
void nvl_trace_free(struct nvl_ctrl *ctrl)
{
	if (ctrl->trace)
		kref_put(&ctrl->trace->ref, nvl_trace_destroy);
}

/**
 * nvl_trace_ring() - the ring of a worker
 * @ctrl: the controller
 * @worker: its number
 *
 * Return: the ring, or NULL if there is no trace.
 */
struct nvl_ring *nvl_trace_ring(struct nvl_ctrl *ctrl, unsigned int worker)
{
	struct nvl_trace *trace = ctrl->trace;

	return trace && worker + 1 < trace->nr ? &trace->rings[worker] : NULL;
}

/**
 * nvl_trace_show() - let a reader come
 * @ctrl: the controller
 *
 * Return: 0 or an errno.
 */
int nvl_trace_show(struct nvl_ctrl *ctrl)
{
	struct nvl_trace *trace = ctrl->trace;

	if (!trace)
		return 0;
	trace->misc.minor = MISC_DYNAMIC_MINOR;
	trace->misc.name = trace->name;
	trace->misc.fops = &nvl_trace_fops;
	trace->misc.mode = 0600;
	return misc_register(&trace->misc);
}

/**
 * nvl_trace_end() - wait for the reader no longer: the device is to go
 * @ctrl: the controller
 */
void nvl_trace_end(struct nvl_ctrl *ctrl)
{
	if (ctrl->trace)
		WRITE_ONCE(ctrl->trace->lossless, false);
}

/**
 * nvl_trace_hide() - undo nvl_trace_show(), with the writers gone
 * @ctrl: the controller
 */
void nvl_trace_hide(struct nvl_ctrl *ctrl)
{
	struct nvc_trace_map *map;

	if (!ctrl->trace)
		return;
	map = ctrl->trace->map;
	/* pairs with the reader: what he finds after this is all there is */
	smp_store_release(&map->ended, 1);
	misc_deregister(&ctrl->trace->misc);
}

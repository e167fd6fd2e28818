// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trace: a ring of records per worker, and one for what no worker does, in
 * memory that one reader maps through /dev/nvlab-trace-NAME. nvc_trace.h says
 * how it lies there; ring.c fills it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "nvlab.h"
#include "trace.h"

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

static bool nvl_trace_worth(const struct nvl_trace *trace)
{
	unsigned int i;

	for (i = 0; i < trace->nr; i++)
		if (nvl_ring_worth(&trace->rings[i]))
			return true;
	return false;
}

/* Woken for many records, or for the last: how long few may wait is the reader's choice. */
static __poll_t nvl_trace_poll(struct file *file, poll_table *wait)
{
	struct nvl_trace *trace = file->private_data;

	poll_wait(file, &trace->readers, wait);
	if (test_bit(NVL_TRACE_ENDED, &trace->flags))
		return EPOLLHUP;
	return nvl_trace_worth(trace) ? EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations nvl_trace_fops = {
	.owner		= THIS_MODULE,
	.open		= nvl_trace_open,
	.release	= nvl_trace_release,
	.mmap		= nvl_trace_mmap,
	.poll		= nvl_trace_poll,
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
 * @subsys: the subsystem
 *
 * Return: 0 or -ENOMEM; nvl_trace_free() undoes either.
 */
int nvl_trace_alloc(struct nvl_subsys *subsys)
{
	struct nvl_trace *trace;

	BUILD_BUG_ON(sizeof(struct nvc_trace_command) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_ranges) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_config) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_timing) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_rule) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_model) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_ns) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(sizeof(struct nvc_trace_state) > NVC_TRACE_RECORD);
	BUILD_BUG_ON(NVC_TRACE_PAGE % PAGE_SIZE);
	if (!subsys->set->trace)
		return 0;
	trace = kzalloc(sizeof(*trace), GFP_KERNEL);
	if (!trace)
		return -ENOMEM;
	subsys->trace = trace;
	kref_init(&trace->ref);
	init_waitqueue_head(&trace->readers);
	trace->nr = subsys->nr_ctrls * nvl_workers_wanted(subsys->set) + 1;
	trace->entries = subsys->set->trace;
	snprintf(trace->name, sizeof(trace->name), "nvlab-trace-%s", subsys->name);
	return nvl_trace_alloc_rings(trace);
}

/**
 * nvl_trace_free() - undo nvl_trace_alloc(), but for what a reader still maps
 * @subsys: the subsystem
 */
void nvl_trace_free(struct nvl_subsys *subsys)
{
	if (subsys->trace)
		kref_put(&subsys->trace->ref, nvl_trace_destroy);
}

/**
 * nvl_trace_ring() - the ring of a worker
 * @ctrl: its controller
 * @worker: its number there
 *
 * Return: the ring, or NULL if there is no trace.
 */
struct nvl_ring *nvl_trace_ring(const struct nvl_ctrl *ctrl, unsigned int worker)
{
	struct nvl_trace *trace = ctrl->subsys->trace;
	unsigned int ring = ctrl->index * nvl_workers_wanted(ctrl->set) + worker;

	return trace && ring + 1 < trace->nr ? &trace->rings[ring] : NULL;
}

/**
 * nvl_trace_show() - let a reader come
 * @subsys: the subsystem
 *
 * Return: 0 or an errno.
 */
int nvl_trace_show(struct nvl_subsys *subsys)
{
	struct nvl_trace *trace = subsys->trace;

	if (!trace)
		return 0;
	trace->misc.minor = MISC_DYNAMIC_MINOR;
	trace->misc.name = trace->name;
	trace->misc.fops = &nvl_trace_fops;
	trace->misc.mode = 0600;
	return misc_register(&trace->misc);
}

/**
 * nvl_trace_begin() - wait for the reader, if the user wants that: the power goes on
 * @subsys: the subsystem
 */
void nvl_trace_begin(struct nvl_subsys *subsys)
{
	if (subsys->trace)
		WRITE_ONCE(subsys->trace->lossless, subsys->set->trace_lossless);
}

/**
 * nvl_trace_end() - wait for the reader no longer: the device is to go
 * @subsys: the subsystem
 */
void nvl_trace_end(struct nvl_subsys *subsys)
{
	if (subsys->trace)
		WRITE_ONCE(subsys->trace->lossless, false);
}

/**
 * nvl_trace_hide() - undo nvl_trace_show(), with the writers gone
 * @subsys: the subsystem
 */
void nvl_trace_hide(struct nvl_subsys *subsys)
{
	struct nvc_trace_map *map;

	if (!subsys->trace)
		return;
	map = subsys->trace->map;
	/* pairs with the reader: what he finds after this is all there is */
	smp_store_release(&map->ended, 1);
	set_bit(NVL_TRACE_ENDED, &subsys->trace->flags);
	wake_up_interruptible(&subsys->trace->readers);
	misc_deregister(&subsys->trace->misc);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* The life of a controller: one of those that share a subsystem. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/idr.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "nvlab.h"

static DEFINE_IDA(nvl_ids);

static void nvl_ctrl_name(struct nvl_ctrl *ctrl)
{
	const struct nvl_subsys *subsys = ctrl->subsys;

	if (subsys->nr_ctrls == 1)
		strscpy(ctrl->name, subsys->name, sizeof(ctrl->name));
	else
		snprintf(ctrl->name, sizeof(ctrl->name), "%s:%u", subsys->name, ctrl->index + 1);
}

static int nvl_ctrl_init(struct nvl_ctrl *ctrl)
{
	ctrl->id = ida_alloc_max(&nvl_ids, 0xfff, GFP_KERNEL);
	if (ctrl->id < 0)
		return ctrl->id;
	ctrl->page = (void *)get_zeroed_page(GFP_KERNEL);
	ctrl->segments = kcalloc(NVL_MAX_PAGES, sizeof(*ctrl->segments), GFP_KERNEL);
	if (!ctrl->page || !ctrl->segments)
		return -ENOMEM;
	spin_lock_init(&ctrl->errors.lock);
	nvl_pci_init(ctrl);
	ctrl->nr_queues = ctrl->set->queues ?:
			  clamp(2 * num_possible_cpus(), 8U, (unsigned int)NVL_MAX_QUEUES);
	ctrl->feat.vwc = 1;
	return 0;
}

/**
 * nvl_ctrl_alloc() - make a controller
 * @subsys: what it is one of the controllers of
 * @index: which, from 0
 *
 * Return: the controller or -ENOMEM.
 */
struct nvl_ctrl *nvl_ctrl_alloc(struct nvl_subsys *subsys, unsigned int index)
{
	struct nvl_ctrl *ctrl;
	int err;

	ctrl = kvzalloc(sizeof(*ctrl), GFP_KERNEL);
	if (!ctrl)
		return ERR_PTR(-ENOMEM);
	ctrl->subsys = subsys;
	ctrl->index = index;
	ctrl->set = subsys->set;
	nvl_ctrl_name(ctrl);
	err = nvl_ctrl_init(ctrl);
	if (err) {
		nvl_ctrl_free(ctrl);
		return ERR_PTR(err);
	}
	return ctrl;
}

/**
 * nvl_ctrl_free() - free a controller
 * @ctrl: the controller, stopped or never started
 */
void nvl_ctrl_free(struct nvl_ctrl *ctrl)
{
	if (ctrl->task)
		put_task_struct(ctrl->task);
	kfree(ctrl->segments);
	free_page((unsigned long)ctrl->page);
	if (ctrl->id >= 0)
		ida_free(&nvl_ids, ctrl->id);
	kvfree(ctrl);
}

/**
 * nvl_ctrl_start() - have a controller run; no host sees it yet
 * @ctrl: the controller
 *
 * Return: 0, -EADDRINUSE, or -ENOMEM.
 */
int nvl_ctrl_start(struct nvl_ctrl *ctrl)
{
	int err;

	err = nvl_bar_map(ctrl);
	if (err)
		return err;
	err = nvl_irq_init(ctrl);
	if (err)
		goto unmap;
	err = nvl_workers_start(ctrl);
	if (err)
		goto exit_irq;
	err = nvl_control_start(ctrl);
	if (err)
		goto stop_workers;
	return 0;

stop_workers:
	nvl_workers_stop(ctrl);
exit_irq:
	nvl_irq_exit(ctrl);
unmap:
	nvl_bar_unmap(ctrl);
	return err;
}

/**
 * nvl_ctrl_show() - let hosts see a controller
 * @ctrl: the controller, as all of its subsystem running
 *
 * Return: 0, or as nvl_pci_add().
 */
int nvl_ctrl_show(struct nvl_ctrl *ctrl)
{
	int err;

	nvl_wake_add(ctrl);
	err = nvl_pci_add(ctrl);
	if (err)
		nvl_wake_del(ctrl);
	else
		nvl_stats_add(ctrl);
	return err;
}

/**
 * nvl_ctrl_hide() - undo nvl_ctrl_show()
 * @ctrl: the controller
 */
void nvl_ctrl_hide(struct nvl_ctrl *ctrl)
{
	nvl_stats_del(ctrl);
	nvl_pci_remove(ctrl);
	nvl_wake_del(ctrl);
}

/**
 * nvl_ctrl_stop() - undo nvl_ctrl_start()
 * @ctrl: the controller, its control thread stopped
 */
void nvl_ctrl_stop(struct nvl_ctrl *ctrl)
{
	nvl_workers_stop(ctrl);
	nvl_irq_exit(ctrl);
	nvl_bar_unmap(ctrl);
}

/**
 * nvl_ctrl_alone() - whether no other controller of the subsystem is in use
 * @ctrl: the controller
 *
 * Return: true if so: then a reset of it is one of what they share.
 */
bool nvl_ctrl_alone(const struct nvl_ctrl *ctrl)
{
	const struct nvl_subsys *subsys = ctrl->subsys;
	unsigned int i;

	for (i = 0; i < subsys->nr_ctrls; i++)
		if (subsys->ctrls[i] != ctrl && READ_ONCE(subsys->ctrls[i]->state) == NVL_READY)
			return false;
	return true;
}

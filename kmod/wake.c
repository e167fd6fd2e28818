// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What wakes a controller that sleeps: the block layer's tracepoint, for all
 * that comes through the nvme driver, and a slow poll, for the rest.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/rculist.h>
#include <linux/tracepoint.h>

#include "nvlab.h"

/*
 * The slow poll naps for a tenth of the time since something happened. What it
 * alone can find is CC and the commands of a user-space driver.
 */
#define NVL_POLL_MIN_NS	NSEC_PER_MSEC
#define NVL_POLL_MAX_NS	(200 * NSEC_PER_MSEC)

static LIST_HEAD(nvl_ctrls);
static DEFINE_MUTEX(nvl_ctrls_lock);
static struct task_struct *nvl_poll_task;
static u64 nvl_poll_active;
static bool nvl_poll_rests;
static struct tracepoint *nvl_tracepoint;

/*
 * Fires before the entry is copied and the doorbell rung, so it only says that
 * a command will come.
 */
static void nvl_announce(struct nvl_ctrl *ctrl, const struct request *rq)
{
	unsigned int qid = rq->mq_hctx->queue_num + 1;
	struct nvl_worker *w;

	if (qid > ctrl->nr_queues)
		return;
	w = READ_ONCE(ctrl->by_queue[qid]);
	if (!w)
		return;
	atomic_inc(&w->issued);
	smp_mb__after_atomic(); /* pairs with set_current_state() in nvl_worker_sleep() */
	if (READ_ONCE(w->sleeping))
		nvl_worker_call(w);
}

static u64 nvl_poll_nap(void)
{
	u64 quiet = ktime_get_ns() - READ_ONCE(nvl_poll_active);

	return clamp_t(u64, quiet / 10, NVL_POLL_MIN_NS, NVL_POLL_MAX_NS);
}

/**
 * nvl_wake_poll() - have the slow poll be quick for a while; from any context
 */
void nvl_wake_poll(void)
{
	bool long_nap = nvl_poll_nap() > 2 * NVL_POLL_MIN_NS;

	WRITE_ONCE(nvl_poll_active, ktime_get_ns());
	smp_mb(); /* pairs with set_current_state() in nvl_poll_sleep() */
	if (long_nap && READ_ONCE(nvl_poll_rests))
		wake_up_process(nvl_poll_task);
}

/* Admin queues have no disk to tell whose they are: let everyone look. */
static void nvl_announce_admin(void)
{
	struct nvl_ctrl *ctrl;

	rcu_read_lock();
	list_for_each_entry_rcu(ctrl, &nvl_ctrls, node)
		nvl_control_kick(ctrl);
	rcu_read_unlock();
	if (!list_empty(&nvl_ctrls))
		nvl_wake_poll();
}

/* The disk is the child of an nvme controller, and that of the PCI device. */
static void nvl_issue(void *unused, struct request *rq)
{
	struct gendisk *disk = rq->q->disk;
	struct nvl_ctrl *ctrl;
	struct device *nvme;

	if (!disk) {
		nvl_announce_admin();
		return;
	}
	nvme = disk_to_dev(disk)->parent;
	ctrl = nvme ? nvl_pci_ctrl(nvme->parent) : NULL;
	if (ctrl && rq->mq_hctx)
		nvl_announce(ctrl, rq);
}

static bool nvl_poll_ctrl(struct nvl_ctrl *ctrl)
{
	bool found = nvl_regs_moved(ctrl) || nvl_admin_waits(ctrl);
	unsigned int i;

	if (found)
		nvl_control_kick(ctrl);
	nvl_irq_poll(ctrl);
	for (i = 0; i < ctrl->nr_workers; i++) {
		if (!nvl_worker_missed(&ctrl->workers[i]))
			continue;
		atomic64_inc(&ctrl->slow);
		wake_up_process(ctrl->workers[i].task);
		found = true;
	}
	return found;
}

static bool nvl_poll_all(void)
{
	struct nvl_ctrl *ctrl;
	bool found = false;

	mutex_lock(&nvl_ctrls_lock);
	list_for_each_entry(ctrl, &nvl_ctrls, node)
		found |= nvl_poll_ctrl(ctrl);
	mutex_unlock(&nvl_ctrls_lock);
	return found;
}

static void nvl_poll_sleep(void)
{
	ktime_t nap;

	WRITE_ONCE(nvl_poll_rests, true);
	set_current_state(TASK_IDLE); /* pairs with nvl_wake_poll() */
	nap = nvl_poll_nap();
	if (kthread_should_stop())
		__set_current_state(TASK_RUNNING);
	else if (list_empty(&nvl_ctrls))
		schedule();
	else
		schedule_hrtimeout_range(&nap, nap / 4, HRTIMER_MODE_REL);
	WRITE_ONCE(nvl_poll_rests, false);
}

static int nvl_poll_main(void *unused)
{
	while (!kthread_should_stop()) {
		if (nvl_poll_all())
			WRITE_ONCE(nvl_poll_active, ktime_get_ns());
		nvl_poll_sleep();
	}
	return 0;
}

/**
 * nvl_wake_add() - look after a controller
 * @ctrl: the controller
 */
void nvl_wake_add(struct nvl_ctrl *ctrl)
{
	mutex_lock(&nvl_ctrls_lock);
	list_add_tail_rcu(&ctrl->node, &nvl_ctrls);
	mutex_unlock(&nvl_ctrls_lock);
	wake_up_process(nvl_poll_task);
}

/**
 * nvl_wake_del() - undo nvl_wake_add(); on return nobody looks any more
 * @ctrl: the controller
 */
void nvl_wake_del(struct nvl_ctrl *ctrl)
{
	mutex_lock(&nvl_ctrls_lock);
	list_del_rcu(&ctrl->node);
	mutex_unlock(&nvl_ctrls_lock);
	synchronize_rcu();
}

static void nvl_find_tracepoint(struct tracepoint *tp, void *unused)
{
	if (!strcmp(tp->name, "block_rq_issue"))
		nvl_tracepoint = tp;
}

static int nvl_probe_register(void)
{
	for_each_kernel_tracepoint(nvl_find_tracepoint, NULL);
	if (!nvl_tracepoint) {
		pr_err("this kernel has no tracepoint block_rq_issue\n");
		return -EOPNOTSUPP;
	}
	return tracepoint_probe_register(nvl_tracepoint, nvl_issue, NULL);
}

/**
 * nvl_wake_init() - start the slow poll and listen to the block layer
 *
 * Return: 0, -EOPNOTSUPP (no such tracepoint), or -ENOMEM.
 */
int nvl_wake_init(void)
{
	int err;

	nvl_poll_task = kthread_run(nvl_poll_main, NULL, "nvlab_poll");
	if (IS_ERR(nvl_poll_task))
		return PTR_ERR(nvl_poll_task);
	err = nvl_probe_register();
	if (err)
		kthread_stop(nvl_poll_task);
	return err;
}

/**
 * nvl_wake_exit() - undo nvl_wake_init()
 */
void nvl_wake_exit(void)
{
	tracepoint_probe_unregister(nvl_tracepoint, nvl_issue, NULL);
	tracepoint_synchronize_unregister();
	kthread_stop(nvl_poll_task);
}

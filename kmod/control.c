// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control thread of a controller: its registers and its admin queue. Both
 * in one thread, so that a reset and an admin command never race.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#include "nvlab.h"

/* An announced command arrives within this, or was not for us. */
#define NVL_CONTROL_LINGER_NS	(2 * NSEC_PER_MSEC)
#define NVL_CONTROL_NAP_NS	(50 * NSEC_PER_USEC)

/* Without power it does nothing, until it is pulled. */
static bool nvl_control_dark(const struct nvl_ctrl *ctrl)
{
	unsigned long trouble = READ_ONCE(ctrl->trouble);

	return trouble & BIT(NVL_TROUBLE_DARK) && !(trouble & BIT(NVL_TROUBLE_UNPLUG));
}

static bool nvl_control_pass(struct nvl_ctrl *ctrl)
{
	bool moved;

	if (nvl_control_dark(ctrl))
		return false;
	moved = nvl_regs_poll(ctrl);
	return nvl_admin_poll(ctrl) || moved;
}

/* TASK_IDLE was set before the last look at @kicked. */
static void nvl_control_sleep(struct nvl_ctrl *ctrl, u64 until)
{
	ktime_t nap = NVL_CONTROL_NAP_NS;

	if (READ_ONCE(ctrl->kicked) || kthread_should_stop())
		__set_current_state(TASK_RUNNING);
	else if (ktime_get_ns() < until)
		schedule_hrtimeout_range(&nap, NVL_CONTROL_NAP_NS / 2, HRTIMER_MODE_REL);
	else
		schedule();
}

static int nvl_control_main(void *data)
{
	struct nvl_ctrl *ctrl = data;
	u64 until = 0;

	/* memory for queues must not come by writing to this very device */
	memalloc_noio_save();
	while (!kthread_should_stop()) {
		bool kicked = xchg(&ctrl->kicked, false);

		if (nvl_control_pass(ctrl) || kicked) {
			until = ktime_get_ns() + NVL_CONTROL_LINGER_NS;
			cond_resched();
		}
		set_current_state(TASK_IDLE);
		nvl_control_sleep(ctrl, until);
	}
	nvl_regs_stop(ctrl);
	return 0;
}

/**
 * nvl_control_kick() - have the control thread look; from any context
 * @ctrl: the controller
 */
void nvl_control_kick(struct nvl_ctrl *ctrl)
{
	WRITE_ONCE(ctrl->kicked, true);
	smp_mb(); /* pairs with set_current_state() in nvl_control_main() */
	if (READ_ONCE(ctrl->task))
		wake_up_process(ctrl->task);
}

/**
 * nvl_control_start() - start the control thread
 * @ctrl: the controller
 *
 * Return: 0 or -ENOMEM.
 */
int nvl_control_start(struct nvl_ctrl *ctrl)
{
	struct task_struct *task;

	nvl_regs_init(ctrl);
	task = kthread_create_on_node(nvl_control_main, ctrl,
				      cpu_to_node(ctrl->workers[0].cpu),
				      "nvlab/%s", ctrl->name);
	if (IS_ERR(task))
		return PTR_ERR(task);
	if (!cpumask_empty(ctrl->set->cpus))
		set_cpus_allowed_ptr(task, ctrl->set->cpus);
	/* until the controller is freed: another may kick it to the very end */
	get_task_struct(task);
	WRITE_ONCE(ctrl->task, task);
	wake_up_process(task);
	return 0;
}

/**
 * nvl_control_stop() - stop it; queues are gone when it returns
 * @ctrl: the controller
 */
void nvl_control_stop(struct nvl_ctrl *ctrl)
{
	kthread_stop(ctrl->task);
	cancel_work_sync(&ctrl->unplug);
}

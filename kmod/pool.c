// SPDX-License-Identifier: GPL-2.0-or-later
/* The workers of a controller, and the dealing of queues to them. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "io.h"
#include "trace.h"

static bool nvl_worker_near(const struct nvl_worker *w, const struct cpumask *mask)
{
	return !mask || cpumask_test_cpu(w->cpu, mask);
}

static struct nvl_worker *nvl_worker_idlest(struct nvl_ctrl *ctrl,
					    const struct cpumask *mask)
{
	struct nvl_worker *best = NULL;
	unsigned int i;

	for (i = 0; i < ctrl->nr_workers; i++) {
		struct nvl_worker *w = &ctrl->workers[i];

		if (nvl_worker_near(w, mask) && (!best || w->nr_sqs < best->nr_sqs))
			best = w;
	}
	return best;
}

/**
 * nvl_worker_for() - who shall serve a completion queue
 * @ctrl: the controller
 * @cq: the queue
 *
 * Return: the worker on a CPU that its interrupt goes to, else any; of several
 * the one with the fewest queues.
 */
struct nvl_worker *nvl_worker_for(struct nvl_ctrl *ctrl, const struct nvl_cq *cq)
{
	const struct cpumask *mask = NULL;
	struct nvl_worker *w;

	if (cq->irq)
		mask = nvl_irq_affinity(ctrl, cq->vector);
	w = nvl_worker_idlest(ctrl, mask);
	return w ?: nvl_worker_idlest(ctrl, NULL);
}

static void nvl_worker_free(struct nvl_worker *w)
{
	kvfree(w->report);
	kfree(w->bounce);
	kfree(w->list);
	kfree(w->ranges);
	kfree(w->segments);
}

/* For what is told of zones or keys. */
static int nvl_worker_alloc_report(struct nvl_worker *w)
{
	switch (w->ctrl->set->kind) {
	case NVC_ZNS:
		w->report_size = nvl_zone_report_size(w->ctrl);
		break;
	case NVC_KV:
		w->report_size = nvl_kv_report_size(w->ctrl);
		break;
	default:
		return 0;
	}
	w->report = kvmalloc_node(w->report_size, GFP_KERNEL, cpu_to_node(w->cpu));
	return w->report ? 0 : -ENOMEM;
}

static int nvl_worker_alloc(struct nvl_worker *w)
{
	int node = cpu_to_node(w->cpu);

	w->segments = kcalloc_node(NVL_MAX_PAGES, sizeof(*w->segments), GFP_KERNEL, node);
	w->ranges = kcalloc_node(NVC_MAX_RANGES, sizeof(*w->ranges), GFP_KERNEL, node);
	w->list = kcalloc_node(NVC_MAX_RANGES, NVL_RANGE_SIZE, GFP_KERNEL, node);
	w->bounce = kmalloc_node(SZ_4K, GFP_KERNEL, node);
	if (w->segments && w->ranges && w->list && w->bounce && !nvl_worker_alloc_report(w))
		return 0;
	nvl_worker_free(w);
	return -ENOMEM;
}

static int nvl_worker_start(struct nvl_ctrl *ctrl, struct nvl_worker *w, unsigned int cpu)
{
	struct task_struct *task;
	int err;

	w->ctrl = ctrl;
	w->cpu = cpu;
	mutex_init(&w->lock);
	INIT_LIST_HEAD(&w->sqs);
	w->due = RB_ROOT_CACHED;
	w->hold = U64_MAX;
	w->ring = nvl_trace_ring(ctrl, w - ctrl->workers);
	err = nvl_worker_alloc(w);
	if (err)
		return err;
	task = kthread_create_on_node(nvl_worker_main, w, cpu_to_node(cpu),
				      "nvlab/%s/%u", ctrl->name, cpu);
	if (IS_ERR(task)) {
		nvl_worker_free(w);
		return PTR_ERR(task);
	}
	kthread_bind(task, cpu);
	w->task = task;
	wake_up_process(task);
	return 0;
}

static const struct cpumask *nvl_workers_cpus(const struct nvl_settings *set)
{
	return cpumask_empty(set->cpus) ? cpu_online_mask : set->cpus;
}

/**
 * nvl_workers_wanted() - how many workers a controller will have
 * @set: settings of its device
 *
 * Return: one for each CPU the device may use.
 */
unsigned int nvl_workers_wanted(const struct nvl_settings *set)
{
	return cpumask_weight(nvl_workers_cpus(set));
}

/**
 * nvl_workers_start() - start a worker on each CPU the device may use
 * @ctrl: the controller
 *
 * Return: 0 or -ENOMEM.
 */
int nvl_workers_start(struct nvl_ctrl *ctrl)
{
	const struct cpumask *cpus = nvl_workers_cpus(ctrl->set);
	unsigned int cpu;
	int err;

	ctrl->workers = kvcalloc(cpumask_weight(cpus), sizeof(*ctrl->workers), GFP_KERNEL);
	if (!ctrl->workers)
		return -ENOMEM;
	for_each_cpu(cpu, cpus) {
		err = nvl_worker_start(ctrl, &ctrl->workers[ctrl->nr_workers], cpu);
		if (err) {
			nvl_workers_stop(ctrl);
			return err;
		}
		ctrl->nr_workers++;
	}
	return 0;
}

/**
 * nvl_workers_stop() - stop and free the workers, which have no queues any more
 * @ctrl: the controller
 */
void nvl_workers_stop(struct nvl_ctrl *ctrl)
{
	while (ctrl->nr_workers) {
		struct nvl_worker *w = &ctrl->workers[--ctrl->nr_workers];

		kthread_stop(w->task);
		nvl_worker_free(w);
	}
	kvfree(ctrl->workers);
}

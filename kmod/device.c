// SPDX-License-Identifier: GPL-2.0-or-later
/* The life of a device, and of the controller in it while the power is on. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/idr.h>
#include <linux/ktime.h>
#include <linux/slab.h>

#include "nvlab.h"
#include "trace.h"

static DEFINE_IDA(nvl_ids);

/**
 * nvl_device_alloc() - make a device, its power off
 * @name: its name
 *
 * Return: the device or NULL.
 */
struct nvl_device *nvl_device_alloc(const char *name)
{
	struct nvl_device *device;

	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return NULL;
	mutex_init(&device->lock);
	if (nvl_settings_init(&device->set, name)) {
		kfree(device);
		return NULL;
	}
	return device;
}

/**
 * nvl_device_free() - free a device
 * @device: the device, its power off
 */
void nvl_device_free(struct nvl_device *device)
{
	nvl_settings_free(&device->set);
	kfree(device);
}

static int nvl_ctrl_check_cpus(const struct nvl_settings *set)
{
	if (cpumask_subset(set->cpus, cpu_online_mask))
		return 0;
	pr_err("cpus: of %*pbl only %*pbl are online\n", cpumask_pr_args(set->cpus),
	       cpumask_pr_args(cpu_online_mask));
	return -ENODEV;
}

static int nvl_ctrl_init_core(struct nvl_ctrl *ctrl)
{
	const struct nvl_settings *set = ctrl->set;
	struct nvc_config config = {
		.kind = set->kind,
		.block_shift = ilog2(set->block_size),
		.vwc = set->vwc,
		.seed = set->seed,
		.timing = set->timing,
		.model = set->medium,
	};
	int err;

	ctrl->capacity = ctrl->place->size - NVL_BAR_SIZE;
	config.blocks = ctrl->capacity >> config.block_shift;
	err = nvc_check(&config);
	if (err) {
		pr_err("%s: a value is out of range: block size, timing, medium, or capacity\n",
		       ctrl->name);
		return err;
	}
	return nvl_core_init(ctrl, &config);
}

static void nvl_ctrl_free(struct nvl_ctrl *ctrl)
{
	kvfree(ctrl->core);
	nvl_trace_free(ctrl);
	kfree(ctrl->segments);
	free_page((unsigned long)ctrl->page);
	if (ctrl->id >= 0)
		ida_free(&nvl_ids, ctrl->id);
	kvfree(ctrl);
}

static void nvl_ctrl_init_locks(struct nvl_ctrl *ctrl)
{
	int i;

	spin_lock_init(&ctrl->core_lock);
	spin_lock_init(&ctrl->errors.lock);
	mutex_init(&ctrl->ns_lock);
	for (i = 0; i < NVL_PAGE_LOCKS; i++)
		spin_lock_init(&ctrl->page_locks[i].lock);
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
	nvl_ctrl_init_locks(ctrl);
	ctrl->nr_queues = ctrl->set->queues ?:
			  clamp(2 * num_possible_cpus(), 8U, (unsigned int)NVL_MAX_QUEUES);
	ctrl->feat.vwc = 1;
	ctrl->born = ktime_get_ns();
	return nvl_trace_alloc(ctrl, nvl_workers_wanted(ctrl)) ?: nvl_ctrl_init_core(ctrl);
}

static struct nvl_ctrl *nvl_ctrl_alloc(struct nvl_device *device)
{
	struct nvl_ctrl *ctrl;
	int err;

	ctrl = kvzalloc(sizeof(*ctrl), GFP_KERNEL);
	if (!ctrl)
		return ERR_PTR(-ENOMEM);
	ctrl->name = config_item_name(&device->group.cg_item);
	ctrl->set = &device->set;
	ctrl->place = &device->place;
	ctrl->life = &device->life;
	err = nvl_ctrl_init(ctrl) ?: nvl_spaces_make(ctrl, device) ?:
	      nvl_faults_arm(ctrl, device);
	if (err) {
		nvl_ctrl_free(ctrl);
		return ERR_PTR(err);
	}
	return ctrl;
}

/* From the memory up to what others see. */
static int nvl_ctrl_start(struct nvl_ctrl *ctrl)
{
	int err;

	err = nvl_region_map(ctrl);
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
	err = nvl_trace_show(ctrl);
	if (err)
		goto stop_control;
	nvl_wake_add(ctrl);
	err = nvl_pci_add(ctrl);
	if (err)
		goto hide_trace;
	nvl_stats_add(ctrl);
	return 0;

hide_trace:
	nvl_wake_del(ctrl);
	nvl_trace_hide(ctrl);
stop_control:
	nvl_control_stop(ctrl);
stop_workers:
	nvl_workers_stop(ctrl);
exit_irq:
	nvl_irq_exit(ctrl);
unmap:
	nvl_region_unmap(ctrl);
	return err;
}

static void nvl_ctrl_stop(struct nvl_ctrl *ctrl)
{
	nvl_trace_end(ctrl);
	nvl_stats_del(ctrl);
	nvl_pci_remove(ctrl);
	nvl_wake_del(ctrl);
	nvl_control_stop(ctrl);
	cancel_work_sync(&ctrl->unplug);
	nvl_workers_stop(ctrl);
	nvl_trace_hide(ctrl);
	nvl_irq_exit(ctrl);
	nvl_region_unmap(ctrl);
}

static void nvl_ctrl_greet(const struct nvl_ctrl *ctrl)
{
	char address[16];

	nvl_pci_name(ctrl, address, sizeof(address));
	pr_info("%s: %llu MiB at %s, %u workers\n", ctrl->name,
		ctrl->capacity >> 20, address, ctrl->nr_workers);
}

/**
 * nvl_device_on() - turn the power on
 * @device: the device, locked, its power off
 *
 * Return: 0; -ENODEV (a CPU is offline), -EINVAL or -ERANGE (a value), -ENOMEM,
 * or as nvl_reserve_take(), nvl_spaces_make(), nvl_region_map() and nvl_pci_add().
 */
int nvl_device_on(struct nvl_device *device)
{
	struct nvl_ctrl *ctrl;
	int err;

	err = nvl_reserve_take(device);
	if (err)
		return err;
	err = nvl_ctrl_check_cpus(&device->set);
	if (err)
		goto give;
	ctrl = nvl_ctrl_alloc(device);
	if (IS_ERR(ctrl)) {
		err = PTR_ERR(ctrl);
		goto give;
	}
	device->life.cycles++;
	err = nvl_ctrl_start(ctrl);
	if (err)
		goto free;
	nvl_ctrl_greet(ctrl);
	device->ctrl = ctrl;
	return 0;

free:
	nvl_ctrl_free(ctrl);
give:
	nvl_reserve_give(device);
	return err;
}

/**
 * nvl_device_off() - turn the power off, with the device in use or not
 * @device: the device, locked
 */
void nvl_device_off(struct nvl_device *device)
{
	struct nvl_ctrl *ctrl = device->ctrl;

	if (!ctrl)
		return;
	device->ctrl = NULL;
	nvl_ctrl_stop(ctrl);
	device->life.on += ktime_get_ns() - ctrl->born;
	nvl_ctrl_free(ctrl);
	nvl_reserve_give(device);
}

/**
 * nvl_device_timing() - change how fast the medium is, at any time
 * @device: the device, locked
 * @timing: how fast
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int nvl_device_timing(struct nvl_device *device, const struct nvc_timing *timing)
{
	struct nvl_ctrl *ctrl = device->ctrl;
	int err = 0;

	if (ctrl)
		err = nvl_core_timing(ctrl, timing);
	if (!err)
		device->set.timing = *timing;
	return err;
}

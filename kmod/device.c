// SPDX-License-Identifier: GPL-2.0-or-later
/* The life of a device, and its power. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/slab.h>

#include "nvlab.h"
#include "trace.h"

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

static int nvl_device_check_cpus(const struct nvl_settings *set)
{
	if (cpumask_subset(set->cpus, cpu_online_mask))
		return 0;
	pr_err("cpus: of %*pbl only %*pbl are online\n", cpumask_pr_args(set->cpus),
	       cpumask_pr_args(cpu_online_mask));
	return -ENODEV;
}

static void nvl_device_greet(const struct nvl_subsys *subsys)
{
	char address[16];
	unsigned int i;

	for (i = 0; i < subsys->nr_ctrls; i++) {
		const struct nvl_ctrl *ctrl = subsys->ctrls[i];

		nvl_pci_name(ctrl, address, sizeof(address));
		pr_info("%s: %llu MiB at %s, %u workers\n", ctrl->name,
			subsys->capacity >> 20, address, ctrl->nr_workers);
	}
}

/**
 * nvl_device_on() - turn the power on
 * @device: the device, locked, its power off
 *
 * Return: 0; -ENODEV (a CPU is offline), or as nvl_reserve_take(),
 * nvl_subsys_alloc() and nvl_subsys_start().
 */
int nvl_device_on(struct nvl_device *device)
{
	struct nvl_subsys *subsys;
	int err;

	err = nvl_reserve_take(device);
	if (err)
		return err;
	err = nvl_device_check_cpus(&device->set);
	if (err)
		goto give;
	subsys = nvl_subsys_alloc(device);
	if (IS_ERR(subsys)) {
		err = PTR_ERR(subsys);
		goto give;
	}
	device->life.cycles++;
	err = nvl_subsys_start(subsys);
	if (err)
		goto free;
	nvl_device_greet(subsys);
	device->subsys = subsys;
	return 0;

free:
	nvl_subsys_free(subsys);
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
	struct nvl_subsys *subsys = device->subsys;

	if (!subsys)
		return;
	device->subsys = NULL;
	nvl_subsys_stop(subsys);
	nvl_subsys_free(subsys);
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
	int err = 0;

	if (device->subsys)
		err = nvl_core_timing(device->subsys, timing);
	if (!err)
		device->set.timing = *timing;
	return err;
}

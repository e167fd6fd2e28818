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

static int nvl_device_make(struct nvl_device *device)
{
	struct nvl_subsys *subsys;
	int err;

	err = nvl_reserve_take(device);
	if (err)
		return err;
	err = nvl_device_check_cpus(&device->set);
	if (err)
		goto give;
	subsys = nvl_subsys_make(device);
	if (IS_ERR(subsys)) {
		err = PTR_ERR(subsys);
		goto give;
	}
	device->subsys = subsys;
	return 0;

give:
	nvl_reserve_give(device);
	return err;
}

static void nvl_device_unmake(struct nvl_device *device)
{
	struct nvl_subsys *subsys = device->subsys;

	device->subsys = NULL;
	nvl_subsys_free(subsys);
	nvl_reserve_give(device);
}

/**
 * nvl_device_on() - turn the power on
 * @device: the device, locked, its power off
 *
 * Return: 0; -ENODEV (a CPU is offline), or as nvl_reserve_take(),
 * nvl_subsys_make() and nvl_subsys_start().
 */
int nvl_device_on(struct nvl_device *device)
{
	int err;

	if (!device->subsys) {
		err = nvl_device_make(device);
		if (err)
			return err;
	}
	err = nvl_subsys_start(device->subsys);
	if (!err)
		nvl_device_greet(device->subsys);
	else if (!device->hold || err == -EBADMSG)
		nvl_device_unmake(device);
	return err;
}

/**
 * nvl_device_off() - turn the power off, with the device in use or not
 * @device: the device, locked
 */
void nvl_device_off(struct nvl_device *device)
{
	if (!nvl_device_is_on(device))
		return;
	nvl_subsys_stop(device->subsys);
	if (!device->hold)
		nvl_device_unmake(device);
}

/**
 * nvl_device_cut() - the power fails, and comes back
 * @device: the device, locked
 *
 * Return: 0, -ENODEV (it is off), or as nvl_subsys_cut().
 */
int nvl_device_cut(struct nvl_device *device)
{
	int err;

	if (!nvl_device_is_on(device))
		return -ENODEV;
	err = nvl_subsys_cut(device->subsys);
	if (!nvl_device_is_on(device) && !device->hold)
		nvl_device_unmake(device);
	return err;
}

/**
 * nvl_device_hold() - keep what the device holds when the power goes off, or not
 * @device: the device, locked
 * @hold: keep it; with the power off there is something to keep from now on
 *
 * Return: 0, or as nvl_device_on() does before the power goes on.
 */
int nvl_device_hold(struct nvl_device *device, bool hold)
{
	int err = 0;

	if (hold && !device->subsys)
		err = nvl_device_make(device);
	if (!hold && device->subsys && !device->subsys->on)
		nvl_device_unmake(device);
	if (!err)
		device->hold = hold;
	return err;
}

/**
 * nvl_device_drop() - forget all of a device that is to go
 * @device: the device, locked
 */
void nvl_device_drop(struct nvl_device *device)
{
	nvl_device_off(device);
	nvl_device_hold(device, false);
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

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The power of all devices fails at one moment, and stays away. Before the first
 * of them loses what it buffered, none has a command in hand, and none fetches or
 * completes another. So there is no order among them: a device that was stopped a
 * little before the last one was, to its host, only slow for that while.
 *
 * Hosts see nothing but silence, no error and no lost link: whoever is told that a
 * device failed would write that down on the others.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/configfs.h>
#include <linux/slab.h>

#include "nvlab.h"

static int nvl_blackout_prepare(struct nvl_device *device)
{
	struct nvl_subsys *subsys = device->subsys;

	if (!nvl_device_is_on(device))
		return 0;
	subsys->lost = nvl_subsys_may_lose(subsys);
	return subsys->lost ? 0 : -ENOMEM;
}

static void nvl_blackout_stop(struct nvl_device *device)
{
	nvl_state_part(device->subsys);
	mutex_lock_nest_lock(&device->subsys->admin_lock, &device->group.cg_subsys->su_mutex);
}

static void nvl_blackout_freeze(struct nvl_device *device)
{
	nvl_freeze(device->subsys);
}

static void nvl_blackout_strike(struct nvl_device *device)
{
	struct nvl_subsys *subsys = device->subsys;

	nvl_subsys_lose(subsys, NVL_TROUBLE_DARK, subsys->lost);
}

static void nvl_blackout_leave(struct nvl_device *device)
{
	struct nvl_subsys *subsys = device->subsys;

	nvl_thaw(subsys);
	mutex_unlock(&subsys->admin_lock);
	nvl_state_open(subsys);
}

/* What is prepared has room for what it loses. */
static void nvl_blackout_each(struct config_group *root, void (*act)(struct nvl_device *device))
{
	struct nvl_device *device;

	list_for_each_entry(device, &root->cg_children, group.cg_item.ci_entry)
		if (device->subsys && device->subsys->lost)
			act(device);
}

static void nvl_blackout_all(struct config_group *root)
{
	nvl_blackout_each(root, nvl_blackout_stop);
	nvl_blackout_each(root, nvl_blackout_freeze);
	nvl_blackout_each(root, nvl_blackout_strike);
	nvl_blackout_each(root, nvl_blackout_leave);
}

static void nvl_blackout_forget(struct nvl_device *device)
{
	kvfree(device->subsys->lost);
	device->subsys->lost = NULL;
}

/**
 * nvl_blackout() - the power of all devices fails at once, until each is cut or switched off
 * @root: the directory that they are in; nobody makes or removes any meanwhile
 *
 * Return: 0, or -ENOMEM: then nothing has happened.
 */
int nvl_blackout(struct config_group *root)
{
	struct nvl_device *device;
	int err = 0;

	list_for_each_entry(device, &root->cg_children, group.cg_item.ci_entry)
		mutex_lock_nest_lock(&device->lock, &root->cg_subsys->su_mutex);
	list_for_each_entry(device, &root->cg_children, group.cg_item.ci_entry)
		err = err ?: nvl_blackout_prepare(device);
	if (!err)
		nvl_blackout_all(root);
	nvl_blackout_each(root, nvl_blackout_forget);
	list_for_each_entry(device, &root->cg_children, group.cg_item.ci_entry)
		mutex_unlock(&device->lock);
	return err;
}

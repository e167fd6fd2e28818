// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a device is made of: its kind, and in /sys/kernel/config/nvlab/NAME/medium/
 * an attribute for each row of core/model.def. With the power on some of them
 * may change, and do so between two commands; the others are -EBUSY.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/string.h>

#include "nvlab.h"
#include "trace.h"

static const char *const nvl_kinds[NVC_KINDS] = {
	[NVC_NVM] = "nvm",
	[NVC_SSD] = "ssd",
	[NVC_HDD] = "hdd",
	[NVC_ZNS] = "zns",
	[NVC_KV] = "kv",
};

/**
 * nvl_kind_name() - a kind as users write it
 * @kind: enum nvc_kind
 *
 * Return: the name.
 */
const char *nvl_kind_name(u32 kind)
{
	return nvl_kinds[kind];
}

/**
 * nvl_parse_kind() - read a kind
 * @text: its name
 * @kind: enum nvc_kind
 *
 * Return: 0 or -EINVAL.
 */
int nvl_parse_kind(const char *text, u32 *kind)
{
	int found = sysfs_match_string(nvl_kinds, text);

	if (found < 0)
		return found;
	*kind = found;
	return 0;
}

static struct nvl_device *nvl_medium_device(struct config_item *item)
{
	return container_of(to_config_group(item), struct nvl_device, medium);
}

static int nvl_medium_change(struct nvl_device *device, const struct nvc_model *model)
{
	int err = 0;

	if (device->subsys)
		err = nvl_core_model(device->subsys, model);
	if (!err)
		device->set.medium = *model;
	return err;
}

static int nvl_medium_store(struct config_item *item, const char *text, u32 index)
{
	struct nvl_device *device = nvl_medium_device(item);
	const struct nvc_param *param = nvc_param(index);
	struct nvc_model model;
	u32 value;
	int err = kstrtou32(text, 0, &value);

	if (err)
		return err;
	if (value < param->low || value > param->high)
		return -ERANGE;
	mutex_lock(&device->lock);
	model = device->set.medium;
	*(u32 *)((u8 *)&model + param->offset) = value;
	err = nvl_medium_change(device, &model);
	mutex_unlock(&device->lock);
	return err;
}

/* Names of the rows, to be numbered. */
enum nvl_row {
#define NVC_PARAM(name_, low_, high_, initial_, live_, unit_, what_) NVL_ROW_##name_,
#include "model.def"
#undef NVC_PARAM
	NVL_ROWS,
};

#define NVC_PARAM(name_, low_, high_, initial_, live_, unit_, what_)			\
static ssize_t nvl_medium_##name_##_show(struct config_item *item, char *page)	\
{											\
	return sysfs_emit(page, "%u\n", nvl_medium_device(item)->set.medium.name_);	\
}											\
											\
static ssize_t nvl_medium_##name_##_store(struct config_item *item, const char *page,	\
					  size_t count)				\
{											\
	return nvl_medium_store(item, page, NVL_ROW_##name_) ?: count;			\
}											\
CONFIGFS_ATTR(nvl_medium_, name_);
#include "model.def"
#undef NVC_PARAM

static struct configfs_attribute *nvl_medium_attrs[] = {
#define NVC_PARAM(name_, low_, high_, initial_, live_, unit_, what_) &nvl_medium_attr_##name_,
#include "model.def"
#undef NVC_PARAM
	NULL,
};

static const struct config_item_type nvl_medium_type = {
	.ct_attrs	= nvl_medium_attrs,
	.ct_owner	= THIS_MODULE,
};

/**
 * nvl_medium_init() - give a device a directory for its medium
 * @device: the device, its own directory set up but not yet seen
 */
void nvl_medium_init(struct nvl_device *device)
{
	config_group_init_type_name(&device->medium, "medium", &nvl_medium_type);
	configfs_add_default_group(&device->medium, &device->group);
}

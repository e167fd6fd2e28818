// SPDX-License-Identifier: GPL-2.0-or-later
/* /sys/kernel/config/nvlab/NAME/: attributes first, then "echo 1 > power". */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/slab.h>

#include "nvlab.h"

static void nvl_device_release(struct config_item *item)
{
	nvl_device_free(to_nvl_device(item));
}

static struct configfs_item_operations nvl_device_ops = {
	.release	= nvl_device_release,
};

static const struct config_item_type nvl_device_type = {
	.ct_item_ops	= &nvl_device_ops,
	.ct_attrs	= nvl_device_attrs,
	.ct_owner	= THIS_MODULE,
};

static struct config_group *nvl_make_device(struct config_group *group, const char *name)
{
	struct nvl_device *device;

	if (strlen(name) > NVL_NAME_MAX)
		return ERR_PTR(-ENAMETOOLONG);
	device = nvl_device_alloc(name);
	if (!device)
		return ERR_PTR(-ENOMEM);
	/* a long name is allocated; config_group_init_type_name() would not tell */
	if (config_item_set_name(&device->group.cg_item, "%s", name)) {
		nvl_device_free(device);
		return ERR_PTR(-ENOMEM);
	}
	device->group.cg_item.ci_type = &nvl_device_type;
	config_group_init(&device->group);
	nvl_medium_init(device);
	nvl_faults_init(device);
	nvl_spaces_init(device);
	return &device->group;
}

static void nvl_drop_device(struct config_group *group, struct config_item *item)
{
	struct nvl_device *device = to_nvl_device(item);

	mutex_lock(&device->lock);
	nvl_device_drop(device);
	mutex_unlock(&device->lock);
	config_item_put(item);
}

static struct configfs_group_operations nvl_root_ops = {
	.make_group	= nvl_make_device,
	.drop_item	= nvl_drop_device,
};

static ssize_t nvl_version_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", NVL_VERSION);
}
CONFIGFS_ATTR_RO(nvl_, version);

static ssize_t nvl_pool_show(struct config_item *item, char *page)
{
	return nvl_reserve_show(page);
}

static ssize_t nvl_pool_store(struct config_item *item, const char *page, size_t count)
{
	return nvl_reserve_set(page) ?: count;
}
CONFIGFS_ATTR(nvl_, pool);

static ssize_t nvl_free_show(struct config_item *item, char *page)
{
	return nvl_reserve_free(page);
}
CONFIGFS_ATTR_RO(nvl_, free);

static struct configfs_subsystem nvl_subsystem;

static ssize_t nvl_blackout_store(struct config_item *item, const char *page, size_t count)
{
	bool dark;
	int err = kstrtobool(page, &dark);

	if (err || !dark)
		return err ?: -EINVAL;
	mutex_lock(&nvl_subsystem.su_mutex);
	err = nvl_blackout(&nvl_subsystem.su_group);
	mutex_unlock(&nvl_subsystem.su_mutex);
	return err ?: count;
}
CONFIGFS_ATTR_WO(nvl_, blackout);

static struct configfs_attribute *nvl_root_attrs[] = {
	&nvl_attr_version,
	&nvl_attr_pool,
	&nvl_attr_free,
	&nvl_attr_blackout,
	NULL,
};

static const struct config_item_type nvl_root_type = {
	.ct_group_ops	= &nvl_root_ops,
	.ct_attrs	= nvl_root_attrs,
	.ct_owner	= THIS_MODULE,
};

static struct configfs_subsystem nvl_subsystem = {
	.su_group = {
		.cg_item = {
			.ci_namebuf	= "nvlab",
			.ci_type	= &nvl_root_type,
		},
	},
};

/**
 * nvl_configfs_first() - make the directory of the device of the parameters
 * @name: its name
 *
 * It cannot be removed from user space, nor does it pin the module.
 *
 * Return: the device, its power off, or an errno.
 */
struct nvl_device *nvl_configfs_first(const char *name)
{
	struct config_group *group = nvl_make_device(&nvl_subsystem.su_group, name);
	int err;

	if (IS_ERR(group))
		return ERR_CAST(group);
	err = configfs_register_group(&nvl_subsystem.su_group, group);
	if (err) {
		config_group_put(group);
		return ERR_PTR(err);
	}
	return to_nvl_device(&group->cg_item);
}

/**
 * nvl_configfs_forget() - undo nvl_configfs_first()
 * @device: the device
 */
void nvl_configfs_forget(struct nvl_device *device)
{
	mutex_lock(&device->lock);
	nvl_device_drop(device);
	mutex_unlock(&device->lock);
	configfs_unregister_group(&device->group);
	config_group_put(&device->group);
}

/**
 * nvl_configfs_init() - make /sys/kernel/config/nvlab
 *
 * Return: 0 or an errno.
 */
int nvl_configfs_init(void)
{
	config_group_init(&nvl_subsystem.su_group);
	mutex_init(&nvl_subsystem.su_mutex);
	return configfs_register_subsystem(&nvl_subsystem);
}

/**
 * nvl_configfs_exit() - undo nvl_configfs_init()
 */
void nvl_configfs_exit(void)
{
	configfs_unregister_subsystem(&nvl_subsystem);
}

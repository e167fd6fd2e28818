// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /sys/kernel/config/nvlab/NAME/: attributes first, then "echo 1 > power".
 * With the power on they are -EBUSY, but for those of timing.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "nvlab.h"

static struct nvl_device *to_nvl_device(struct config_item *item)
{
	return container_of(to_config_group(item), struct nvl_device, group);
}

/* Everything but timing and power: only while the power is off. */
static int nvl_store(struct config_item *item, const char *text,
		     int (*set)(struct nvl_settings *set, const char *text))
{
	struct nvl_device *device = to_nvl_device(item);
	int err = -EBUSY;

	mutex_lock(&device->lock);
	if (!device->ctrl)
		err = set(&device->set, text);
	mutex_unlock(&device->lock);
	return err;
}

#define NVL_SHOW(_name, _format, _value)						\
static ssize_t nvl_##_name##_show(struct config_item *item, char *page)		\
{											\
	const struct nvl_settings *set = &to_nvl_device(item)->set;			\
											\
	return sysfs_emit(page, _format "\n", _value);					\
}

#define NVL_STORE(_name)								\
static ssize_t nvl_##_name##_store(struct config_item *item, const char *page,	\
				   size_t count)					\
{											\
	return nvl_store(item, page, nvl_set_##_name) ?: count;				\
}											\
CONFIGFS_ATTR(nvl_, _name)

static int nvl_set_memmap_start(struct nvl_settings *set, const char *text)
{
	return nvl_parse_size("memmap_start", text, &set->start);
}

NVL_SHOW(memmap_start, "%llu", set->start)
NVL_STORE(memmap_start);

static int nvl_set_memmap_size(struct nvl_settings *set, const char *text)
{
	return nvl_parse_size("memmap_size", text, &set->size);
}

NVL_SHOW(memmap_size, "%llu", set->size)
NVL_STORE(memmap_size);

static int nvl_set_cpus(struct nvl_settings *set, const char *text)
{
	cpumask_var_t cpus;
	int err;

	if (!zalloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;
	err = nvl_parse_cpus(text, cpus);
	if (!err)
		cpumask_copy(set->cpus, cpus);
	free_cpumask_var(cpus);
	return err;
}

NVL_SHOW(cpus, "%*pbl", cpumask_pr_args(set->cpus))
NVL_STORE(cpus);

static int nvl_set_block_size(struct nvl_settings *set, const char *text)
{
	u32 size;
	int err = kstrtou32(text, 0, &size);

	if (err)
		return err;
	if (size != SZ_512 && size != SZ_4K)
		return -EINVAL;
	set->block_size = size;
	return 0;
}

NVL_SHOW(block_size, "%u", set->block_size)
NVL_STORE(block_size);

static int nvl_set_vwc(struct nvl_settings *set, const char *text)
{
	return kstrtobool(text, &set->vwc);
}

NVL_SHOW(vwc, "%d", set->vwc)
NVL_STORE(vwc);

static int nvl_set_seed(struct nvl_settings *set, const char *text)
{
	return kstrtou64(text, 0, &set->seed);
}

NVL_SHOW(seed, "%llu", set->seed)
NVL_STORE(seed);

/* What goes into a fixed field of Identify: printable ASCII. */
static int nvl_set_text(char *field, size_t size, const char *text)
{
	size_t len = strcspn(text, "\n");
	size_t i;

	if (!len || len >= size)
		return len ? -ENAMETOOLONG : -EINVAL;
	for (i = 0; i < len; i++)
		if (!isascii(text[i]) || !isprint(text[i]))
			return -EINVAL;
	memcpy(field, text, len);
	field[len] = '\0';
	return 0;
}

static int nvl_set_serial(struct nvl_settings *set, const char *text)
{
	return nvl_set_text(set->serial, sizeof(set->serial), text);
}

NVL_SHOW(serial, "%s", set->serial)
NVL_STORE(serial);

static int nvl_set_model(struct nvl_settings *set, const char *text)
{
	return nvl_set_text(set->model, sizeof(set->model), text);
}

NVL_SHOW(model, "%s", set->model)
NVL_STORE(model);

static int nvl_set_subnqn(struct nvl_settings *set, const char *text)
{
	return nvl_set_text(set->subnqn, sizeof(set->subnqn), text);
}

NVL_SHOW(subnqn, "%s", set->subnqn)
NVL_STORE(subnqn);

static int nvl_set_trace(struct nvl_settings *set, const char *text)
{
	return nvl_parse_entries(text, &set->trace);
}

NVL_SHOW(trace, "%u", set->trace)
NVL_STORE(trace);

static int nvl_set_trace_lossless(struct nvl_settings *set, const char *text)
{
	return kstrtobool(text, &set->trace_lossless);
}

NVL_SHOW(trace_lossless, "%d", set->trace_lossless)
NVL_STORE(trace_lossless);

static int nvl_store_timing(struct config_item *item, const char *text, size_t offset)
{
	struct nvl_device *device = to_nvl_device(item);
	struct nvc_timing timing;
	int err;

	mutex_lock(&device->lock);
	timing = device->set.timing;
	err = kstrtou32(text, 0, (u32 *)((char *)&timing + offset)) ?:
	      nvl_device_timing(device, &timing);
	mutex_unlock(&device->lock);
	return err;
}

#define NVL_STORE_TIMING(_name, _field)							\
static ssize_t nvl_##_name##_store(struct config_item *item, const char *page,	\
				   size_t count)					\
{											\
	return nvl_store_timing(item, page, offsetof(struct nvc_timing, _field)) ?: count; \
}											\
CONFIGFS_ATTR(nvl_, _name)

NVL_SHOW(read_delay, "%u", set->timing.read_delay)
NVL_STORE_TIMING(read_delay, read_delay);
NVL_SHOW(read_time, "%u", set->timing.read_time)
NVL_STORE_TIMING(read_time, read_time);
NVL_SHOW(write_delay, "%u", set->timing.write_delay)
NVL_STORE_TIMING(write_delay, write_delay);
NVL_SHOW(write_time, "%u", set->timing.write_time)
NVL_STORE_TIMING(write_time, write_time);
NVL_SHOW(nr_io_units, "%u", set->timing.units)
NVL_STORE_TIMING(nr_io_units, units);
NVL_SHOW(io_unit_shift, "%u", set->timing.unit_shift)
NVL_STORE_TIMING(io_unit_shift, unit_shift);

static ssize_t nvl_power_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", !!READ_ONCE(to_nvl_device(item)->ctrl));
}

static ssize_t nvl_power_store(struct config_item *item, const char *page, size_t count)
{
	struct nvl_device *device = to_nvl_device(item);
	bool on;
	int err = kstrtobool(page, &on);

	if (err)
		return err;
	mutex_lock(&device->lock);
	if (!on)
		nvl_device_off(device);
	else if (!device->ctrl)
		err = nvl_device_on(device);
	mutex_unlock(&device->lock);
	return err ?: count;
}
CONFIGFS_ATTR(nvl_, power);

static ssize_t nvl_pci_show(struct config_item *item, char *page)
{
	struct nvl_device *device = to_nvl_device(item);
	char address[16] = "";

	mutex_lock(&device->lock);
	if (device->ctrl)
		nvl_pci_name(device->ctrl, address, sizeof(address));
	mutex_unlock(&device->lock);
	return sysfs_emit(page, "%s\n", address);
}
CONFIGFS_ATTR_RO(nvl_, pci);

static ssize_t nvl_stats_show(struct config_item *item, char *page)
{
	struct nvl_device *device = to_nvl_device(item);
	ssize_t len;

	mutex_lock(&device->lock);
	len = nvl_device_stats(device, page);
	mutex_unlock(&device->lock);
	return len;
}
CONFIGFS_ATTR_RO(nvl_, stats);

static struct configfs_attribute *nvl_device_attrs[] = {
	&nvl_attr_memmap_start,
	&nvl_attr_memmap_size,
	&nvl_attr_cpus,
	&nvl_attr_block_size,
	&nvl_attr_vwc,
	&nvl_attr_serial,
	&nvl_attr_model,
	&nvl_attr_subnqn,
	&nvl_attr_read_delay,
	&nvl_attr_read_time,
	&nvl_attr_write_delay,
	&nvl_attr_write_time,
	&nvl_attr_nr_io_units,
	&nvl_attr_io_unit_shift,
	&nvl_attr_seed,
	&nvl_attr_trace,
	&nvl_attr_trace_lossless,
	&nvl_attr_power,
	&nvl_attr_pci,
	&nvl_attr_stats,
	NULL,
};

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
	nvl_faults_init(device);
	return &device->group;
}

static void nvl_drop_device(struct config_group *group, struct config_item *item)
{
	struct nvl_device *device = to_nvl_device(item);

	mutex_lock(&device->lock);
	nvl_device_off(device);
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

static struct configfs_attribute *nvl_root_attrs[] = {
	&nvl_attr_version,
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
	nvl_device_off(device);
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

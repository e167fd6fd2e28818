// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attributes of a device in configfs. With the power on they are -EBUSY, but
 * for timing and temperature. medium.c has those of its medium.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/module.h>

#include "nvlab.h"

/* Everything but timing and power: only while the power is off. */
static int nvl_store(struct config_item *item, const char *text,
		     int (*set)(struct nvl_settings *set, const char *text))
{
	struct nvl_device *device = to_nvl_device(item);
	int err = -EBUSY;

	mutex_lock(&device->lock);
	if (!device->subsys)
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

/* While the power is on, where it is, if the pool was asked. */
static ssize_t nvl_memmap_start_show(struct config_item *item, char *page)
{
	const struct nvl_device *device = to_nvl_device(item);
	u64 start = READ_ONCE(device->subsys) ? device->place.start : device->set.start;

	return sysfs_emit(page, "%llu\n", start);
}

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

static int nvl_set_kind(struct nvl_settings *set, const char *text)
{
	return nvl_parse_kind(text, &set->kind);
}

NVL_SHOW(kind, "%s", nvl_kind_name(set->kind))
NVL_STORE(kind);

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

/* A number from @low to @high. */
static int nvl_set_number(const char *text, u32 low, u32 high, u16 *value)
{
	u32 number;
	int err = kstrtou32(text, 0, &number);

	if (err)
		return err;
	if (number < low || number > high)
		return -ERANGE;
	*value = number;
	return 0;
}

static int nvl_set_controllers(struct nvl_settings *set, const char *text)
{
	return nvl_set_number(text, 1, NVL_MAX_CTRLS, &set->controllers);
}

NVL_SHOW(controllers, "%u", set->controllers)
NVL_STORE(controllers);

static int nvl_set_queues(struct nvl_settings *set, const char *text)
{
	return nvl_set_number(text, 0, NVL_MAX_QUEUES, &set->queues);
}

NVL_SHOW(queues, "%u", set->queues)
NVL_STORE(queues);

static int nvl_set_entries(struct nvl_settings *set, const char *text)
{
	return nvl_set_number(text, 2, NVL_MAX_ENTRIES, &set->entries);
}

NVL_SHOW(entries, "%u", set->entries)
NVL_STORE(entries);

static int nvl_set_mdts(struct nvl_settings *set, const char *text)
{
	return nvl_set_number(text, 1, NVL_MAX_MDTS, &set->mdts);
}

NVL_SHOW(mdts, "%u", set->mdts)
NVL_STORE(mdts);

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

static int nvl_set_firmware(struct nvl_settings *set, const char *text)
{
	return nvl_set_text(set->firmware, sizeof(set->firmware), text);
}

NVL_SHOW(firmware, "%s", set->firmware)
NVL_STORE(firmware);

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

static int nvl_set_keep(struct nvl_settings *set, const char *text)
{
	return kstrtobool(text, &set->keep);
}

NVL_SHOW(keep, "%d", set->keep)
NVL_STORE(keep);

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

NVL_SHOW(temperature, "%u", set->temperature)

static ssize_t nvl_temperature_store(struct config_item *item, const char *page,
				     size_t count)
{
	struct nvl_device *device = to_nvl_device(item);
	unsigned int i;
	u16 kelvin;
	int err = nvl_set_number(page, 1, U16_MAX, &kelvin);

	if (err)
		return err;
	mutex_lock(&device->lock);
	WRITE_ONCE(device->set.temperature, kelvin);
	for (i = 0; nvl_device_is_on(device) && i < device->subsys->nr_ctrls; i++)
		nvl_control_kick(device->subsys->ctrls[i]);
	mutex_unlock(&device->lock);
	return count;
}
CONFIGFS_ATTR(nvl_, temperature);

static ssize_t nvl_power_show(struct config_item *item, char *page)
{
	struct nvl_device *device = to_nvl_device(item);
	bool on;

	mutex_lock(&device->lock);
	on = nvl_device_is_on(device);
	mutex_unlock(&device->lock);
	return sysfs_emit(page, "%d\n", on);
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
	else if (!nvl_device_is_on(device))
		err = nvl_device_on(device);
	mutex_unlock(&device->lock);
	return err ?: count;
}
CONFIGFS_ATTR(nvl_, power);

static ssize_t nvl_hold_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(to_nvl_device(item)->hold));
}

static ssize_t nvl_hold_store(struct config_item *item, const char *page, size_t count)
{
	struct nvl_device *device = to_nvl_device(item);
	bool hold;
	int err = kstrtobool(page, &hold);

	if (err)
		return err;
	mutex_lock(&device->lock);
	err = nvl_device_hold(device, hold);
	mutex_unlock(&device->lock);
	return err ?: count;
}
CONFIGFS_ATTR(nvl_, hold);

static ssize_t nvl_cut_store(struct config_item *item, const char *page, size_t count)
{
	struct nvl_device *device = to_nvl_device(item);
	bool cut;
	int err = kstrtobool(page, &cut);

	if (err || !cut)
		return err ?: -EINVAL;
	mutex_lock(&device->lock);
	err = nvl_device_cut(device);
	mutex_unlock(&device->lock);
	return err ?: count;
}
CONFIGFS_ATTR_WO(nvl_, cut);

/* A line for each controller. */
static ssize_t nvl_pci_show(struct config_item *item, char *page)
{
	struct nvl_device *device = to_nvl_device(item);
	char address[16] = "";
	unsigned int i;
	ssize_t len = 0;

	mutex_lock(&device->lock);
	for (i = 0; nvl_device_is_on(device) && i < device->subsys->nr_ctrls; i++) {
		nvl_pci_name(device->subsys->ctrls[i], address, sizeof(address));
		len += sysfs_emit_at(page, len, "%s\n", address);
	}
	mutex_unlock(&device->lock);
	return len ?: sysfs_emit(page, "\n");
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

struct configfs_attribute *nvl_device_attrs[] = {
	&nvl_attr_memmap_start,
	&nvl_attr_memmap_size,
	&nvl_attr_cpus,
	&nvl_attr_kind,
	&nvl_attr_block_size,
	&nvl_attr_vwc,
	&nvl_attr_controllers,
	&nvl_attr_queues,
	&nvl_attr_entries,
	&nvl_attr_mdts,
	&nvl_attr_serial,
	&nvl_attr_model,
	&nvl_attr_firmware,
	&nvl_attr_subnqn,
	&nvl_attr_temperature,
	&nvl_attr_read_delay,
	&nvl_attr_read_time,
	&nvl_attr_write_delay,
	&nvl_attr_write_time,
	&nvl_attr_nr_io_units,
	&nvl_attr_io_unit_shift,
	&nvl_attr_seed,
	&nvl_attr_trace,
	&nvl_attr_trace_lossless,
	&nvl_attr_keep,
	&nvl_attr_power,
	&nvl_attr_hold,
	&nvl_attr_cut,
	&nvl_attr_pci,
	&nvl_attr_stats,
	NULL,
};

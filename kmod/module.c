// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Module parameters make the first device, as NVMeVirt's users know them.
 * Without any there is only configfs.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/moduleparam.h>

#include "nvlab.h"

#define NVL_FIRST	"nvlab0"

static char *memmap_start;
module_param(memmap_start, charp, 0444);
MODULE_PARM_DESC(memmap_start, "start of the reserved memory, such as 5G");

static char *memmap_size;
module_param(memmap_size, charp, 0444);
MODULE_PARM_DESC(memmap_size, "size of the reserved memory, such as 513M; 1 MiB is for registers");

static char *cpus;
module_param(cpus, charp, 0444);
MODULE_PARM_DESC(cpus, "CPUs the device may use, such as 2,3 (default: all)");

static struct nvc_timing timing = { .units = 8, .unit_shift = 12 };
module_param_named(read_delay, timing.read_delay, uint, 0444);
MODULE_PARM_DESC(read_delay, "ns before the first unit of a read");
module_param_named(read_time, timing.read_time, uint, 0444);
MODULE_PARM_DESC(read_time, "ns for each unit read");
module_param_named(write_delay, timing.write_delay, uint, 0444);
MODULE_PARM_DESC(write_delay, "ns before the first unit of a write");
module_param_named(write_time, timing.write_time, uint, 0444);
MODULE_PARM_DESC(write_time, "ns for each unit written");
module_param_named(nr_io_units, timing.units, uint, 0444);
MODULE_PARM_DESC(nr_io_units, "units that work at the same time (default: 8)");
module_param_named(io_unit_shift, timing.unit_shift, uint, 0444);
MODULE_PARM_DESC(io_unit_shift, "log2 of a unit in bytes (default: 12)");

static bool poll;
module_param(poll, bool, 0444);
MODULE_PARM_DESC(poll, "workers never sleep, and take their CPUs whole (default: no)");

static struct nvl_device *nvl_first;

static int nvl_first_settings(struct nvl_settings *set)
{
	int err = 0;

	if (memmap_start)
		err = nvl_parse_size("memmap_start", memmap_start, &set->start);
	if (!err && memmap_size)
		err = nvl_parse_size("memmap_size", memmap_size, &set->size);
	if (!err && cpus)
		err = nvl_parse_cpus(cpus, set->cpus);
	set->timing = timing;
	return err;
}

static int nvl_first_init(void)
{
	int err;

	if (!memmap_start && !memmap_size && !cpus)
		return 0;
	nvl_first = nvl_configfs_first(NVL_FIRST);
	if (IS_ERR(nvl_first))
		return PTR_ERR(nvl_first);
	mutex_lock(&nvl_first->lock);
	err = nvl_first_settings(&nvl_first->set) ?: nvl_device_on(nvl_first);
	mutex_unlock(&nvl_first->lock);
	if (err)
		nvl_configfs_forget(nvl_first);
	return err;
}

static int __init nvl_init(void)
{
	int err;

	nvl_never_sleep = poll;
	nvl_stats_init();
	err = nvl_wake_init();
	if (err)
		goto exit_stats;
	err = nvl_configfs_init();
	if (err)
		goto exit_wake;
	err = nvl_first_init();
	if (err)
		goto exit_configfs;
	return 0;

exit_configfs:
	nvl_configfs_exit();
exit_wake:
	nvl_wake_exit();
exit_stats:
	nvl_stats_exit();
	return err;
}
module_init(nvl_init);

static void __exit nvl_exit(void)
{
	if (nvl_first)
		nvl_configfs_forget(nvl_first);
	nvl_configfs_exit();
	nvl_wake_exit();
	nvl_stats_exit();
}
module_exit(nvl_exit);

MODULE_DESCRIPTION("Virtual NVMe controller in reserved memory");
MODULE_AUTHOR("The nvlab authors");
MODULE_VERSION(NVL_VERSION);
MODULE_SOFTDEP("post: nvme");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0-or-later
/* What a device is asked to be: defaults, and values that users write. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "nvlab.h"

/**
 * nvl_identity() - 128 bits that are the same for the same name
 * @name: of the device
 * @kind: what they are for
 * @half: the bits
 */
void nvl_identity(const char *name, u64 kind, u64 half[2])
{
	siphash_key_t key = { { 0x6e766c61622d6964, kind } };

	half[0] = siphash(name, strlen(name), &key);
	key.key[0] = ~key.key[0];
	half[1] = siphash(name, strlen(name), &key);
}

static void nvl_settings_name(struct nvl_settings *set, const char *name)
{
	u64 id[2];

	nvl_identity(name, 's', id);
	snprintf(set->serial, sizeof(set->serial), "NVL%016llx", id[0]);
	strscpy(set->model, "nvlab virtual NVMe", sizeof(set->model));
	/* the UUID form of NVMe 1.4, 7.9; version 8: made by the implementer */
	nvl_identity(name, 'q', id);
	snprintf(set->subnqn, sizeof(set->subnqn),
		 "nqn.2014-08.org.nvmexpress:uuid:%08x-%04x-8%03x-%04x-%012llx",
		 (u32)(id[0] >> 32), (u16)(id[0] >> 16), (u16)(id[0] & 0xfff),
		 (u16)((id[1] >> 48 & 0x3fff) | 0x8000), id[1] & GENMASK_ULL(47, 0));
}

/**
 * nvl_settings_init() - the defaults
 * @set: what to fill in
 * @name: of the device; serial number and NQN follow from it
 *
 * Return: 0 or -ENOMEM.
 */
int nvl_settings_init(struct nvl_settings *set, const char *name)
{
	if (!zalloc_cpumask_var(&set->cpus, GFP_KERNEL))
		return -ENOMEM;
	set->controllers = 1;
	set->block_size = 512;
	set->entries = 1024;
	set->mdts = NVL_MAX_MDTS;
	set->temperature = NVL_TEMPERATURE;
	strscpy(set->firmware, NVL_VERSION, sizeof(set->firmware));
	set->timing.units = 8;
	set->timing.unit_shift = 12;
	nvc_model_default(&set->medium);
	nvl_settings_name(set, name);
	return 0;
}

/**
 * nvl_settings_free() - free what nvl_settings_init() allocated
 * @set: the settings
 */
void nvl_settings_free(struct nvl_settings *set)
{
	free_cpumask_var(set->cpus);
}

/**
 * nvl_parse_size() - read a number with a suffix, as in memmap=
 * @name: what it is, for the message
 * @text: such as "5G" or "0x140000000"
 * @value: the number
 *
 * Return: 0 or -EINVAL.
 */
int nvl_parse_size(const char *name, const char *text, u64 *value)
{
	char *end;
	u64 number = memparse(text, &end);

	if (end == text || *skip_spaces(end)) {
		pr_err("%s: \"%s\" is not a size such as 513M or 5G\n", name, text);
		return -EINVAL;
	}
	*value = number;
	return 0;
}

/**
 * nvl_parse_entries() - read the size of a ring of the trace
 * @text: 0 for no trace, or a power of two
 * @entries: the number
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int nvl_parse_entries(const char *text, u32 *entries)
{
	u32 number;
	int err = kstrtou32(text, 0, &number);

	if (err)
		return err;
	if (number && !is_power_of_2(number))
		return -EINVAL;
	if (number && (number < NVC_TRACE_MIN_ENTRIES || number > NVC_TRACE_MAX_ENTRIES))
		return -ERANGE;
	*entries = number;
	return 0;
}

/**
 * nvl_parse_cpus() - read a list of CPUs
 * @text: such as "2,3" or "2-3"; empty for all CPUs
 * @cpus: the list
 *
 * Return: 0, -EINVAL (not a list), or -ENXIO (there is no such CPU).
 */
int nvl_parse_cpus(const char *text, struct cpumask *cpus)
{
	int err = cpulist_parse(text, cpus);

	if (err && err != -ERANGE) {
		pr_err("cpus: \"%s\" is not a list such as 2,3 or 2-3\n", text);
		return -EINVAL;
	}
	if (err || !cpumask_subset(cpus, cpu_possible_mask)) {
		pr_err("cpus: %s: there are only CPUs %*pbl\n", text,
		       cpumask_pr_args(cpu_possible_mask));
		return -ENXIO;
	}
	return 0;
}

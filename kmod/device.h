/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device as users know it: a directory in configfs, its settings, its memory. */
#ifndef NVLAB_DEVICE_H
#define NVLAB_DEVICE_H

#include <linux/configfs.h>
#include <linux/cpumask.h>
#include <linux/list.h>
#include <linux/mutex.h>

#include "nvc_ssd.h"

struct nvl_fault;
struct nvl_space;
struct nvl_subsys;

#define NVL_NAME_MAX	32
#define NVL_MAX_CTRLS	8

/**
 * struct nvl_settings - what the user chose, fixed while the power is on
 * @start: physical address of the reserved region; 0 for one in the pool
 * @size: bytes of the region
 * @controllers: how many share the device
 * @cpus: where workers run; empty for all CPUs online
 * @block_size: bytes of a logical block: 512 or 4096
 * @vwc: whether the controller reports a volatile write cache
 * @queues: I/O queues of each sort; 0 for as many as the CPUs want
 * @entries: of a queue at most
 * @mdts: log2 of the longest transfer in pages of 4 KiB
 * @temperature: what it says it has, kelvin; may also change while the power is on
 * @kind: enum nvc_kind
 * @timing: how fast the medium is, of kind nvm; may also change while the power is on
 * @medium: what the medium is, of other kinds; some of it may also change then
 * @keep: what is written as its state is of what the memory of the region holds already
 * @seed: of every random choice
 * @serial: SN
 * @model: MN
 * @firmware: FR
 * @subnqn: SUBNQN
 * @trace: records of each ring of the trace, a power of two; 0 for no trace
 * @trace_lossless: whether fetching waits for the trace's reader
 */
struct nvl_settings {
	u64 start;
	u64 size;
	u16 controllers;
	cpumask_var_t cpus;
	u32 block_size;
	bool vwc;
	u16 queues;
	u16 entries;
	u16 mdts;
	u16 temperature;
	u32 kind;
	struct nvc_timing timing;
	struct nvc_model medium;
	bool keep;
	u64 seed;
	char serial[21];
	char model[41];
	char firmware[9];
	char subnqn[224];
	u32 trace;
	bool trace_lossless;
};

/**
 * struct nvl_place - where in physical memory a device is
 * @node: in the list of all places
 * @start: physical address
 * @size: bytes
 * @bars: how many BARs it begins with
 */
struct nvl_place {
	struct list_head node;
	u64 start;
	u64 size;
	u16 bars;
};

/**
 * struct nvl_life - what outlasts the power
 * @cycles: times the power went on
 * @unsafe: times it went off while a controller was enabled
 * @on: ns with the power on, until it last went off
 */
struct nvl_life {
	u64 cycles;
	u64 unsafe;
	u64 on;
};

/**
 * struct nvl_device - a device by name
 * @group: its directory in configfs
 * @faults: the directory of its fault rules
 * @rules: the rules, by slot
 * @medium: the directory of its medium
 * @namespaces: the directory of its namespaces
 * @spaces: the namespaces that the user asked for, by NSID - 1
 * @place: its memory while the power is on
 * @life: what outlasts the power
 * @lock: held to change @set, @hold or @subsys
 * @set: the settings
 * @hold: what it holds stays when the power goes off
 * @subsys: what it holds, while the power is on or @hold is set, else NULL
 */
struct nvl_device {
	struct config_group group;
	struct config_group faults;
	struct nvl_fault *rules[NVC_MAX_RULES];
	struct config_group medium;
	struct config_group namespaces;
	struct nvl_space *spaces[NVC_MAX_NS];
	struct nvl_place place;
	struct nvl_life life;
	struct mutex lock;	/* settings and power */
	struct nvl_settings set;
	bool hold;
	struct nvl_subsys *subsys;
};

/**
 * to_nvl_device() - the device of a directory
 * @item: the directory
 *
 * Return: the device.
 */
static inline struct nvl_device *to_nvl_device(struct config_item *item)
{
	return container_of(to_config_group(item), struct nvl_device, group);
}

/**
 * nvl_has_flash() - whether a device has an SSD inside
 * @set: its settings
 *
 * Return: true if so, with zones, keys or neither.
 */
static inline bool nvl_has_flash(const struct nvl_settings *set)
{
	return set->kind == NVC_SSD || set->kind == NVC_ZNS || set->kind == NVC_KV;
}

/**
 * nvl_has_sets() - whether the first namespace of a device is of another command set than NVM
 * @set: its settings
 *
 * Return: true if so. All namespaces are fixed then.
 */
static inline bool nvl_has_sets(const struct nvl_settings *set)
{
	return set->kind == NVC_ZNS || set->kind == NVC_KV;
}

/* settings.c */
int nvl_settings_init(struct nvl_settings *set, const char *name);
void nvl_settings_free(struct nvl_settings *set);
int nvl_parse_size(const char *name, const char *text, u64 *value);
int nvl_parse_entries(const char *text, u32 *entries);
int nvl_parse_cpus(const char *text, struct cpumask *cpus);
void nvl_identity(const char *name, u64 kind, u64 half[2]);

/* attr.c */
extern struct configfs_attribute *nvl_device_attrs[];

/* blackout.c */
int nvl_blackout(struct config_group *root);

/* configfs.c */
int nvl_configfs_init(void);
void nvl_configfs_exit(void);
struct nvl_device *nvl_configfs_first(const char *name);
void nvl_configfs_forget(struct nvl_device *device);

/* device.c */
struct nvl_device *nvl_device_alloc(const char *name);
void nvl_device_free(struct nvl_device *device);
int nvl_device_on(struct nvl_device *device);
void nvl_device_off(struct nvl_device *device);
int nvl_device_cut(struct nvl_device *device);
int nvl_device_hold(struct nvl_device *device, bool hold);
void nvl_device_drop(struct nvl_device *device);
int nvl_device_timing(struct nvl_device *device, const struct nvc_timing *t);

/* medium.c */
const char *nvl_kind_name(u32 kind);
int nvl_parse_kind(const char *text, u32 *kind);
void nvl_medium_init(struct nvl_device *device);

/* space.c */
void nvl_spaces_init(struct nvl_device *device);

/* reserve.c */
ssize_t nvl_reserve_show(char *page);
int nvl_reserve_set(const char *text);
ssize_t nvl_reserve_free(char *page);
int nvl_reserve_take(struct nvl_device *device);
void nvl_reserve_give(struct nvl_device *device);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the controllers of a device share while its power is on: an NVM subsystem. */
#ifndef NVLAB_SUBSYS_H
#define NVLAB_SUBSYS_H

#include <linux/ioport.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>

#include "admin.h"
#include "device.h"
#include "nvc.h"
#include "undo.h"

/* The namespace that is zoned, or holds values by keys, on a device that has one. */
#define NVL_FIRST_NSID	1

/* Locks of storage, a page each in turn. */
#define NVL_PAGE_LOCKS	64

/**
 * struct nvl_span - a mapped stretch of storage
 * @addr: where it is mapped
 * @size: bytes
 */
struct nvl_span {
	u8 *addr;
	u64 size;
};

/**
 * struct nvl_store - the storage of a device
 * @claim: where it is in physical memory
 * @head: storage up to the first address that huge pages can map
 * @tail: the rest
 */
struct nvl_store {
	struct resource *claim;
	struct nvl_span head;
	struct nvl_span tail;
};

/**
 * struct nvl_page_lock - keeps some pages of storage
 * @lock: held while one of them is read or written
 */
struct nvl_page_lock {
	spinlock_t lock;	/* the pages */
} ____cacheline_aligned_in_smp;

struct nvl_state;

/**
 * struct nvl_subsys - the subsystem of a device: on, or held with its power off
 * @name: of the device
 * @set: its settings
 * @place: where its memory is
 * @life: what outlasts the power
 * @on: whether the power is on
 * @ran: whether it was on before
 * @ready: after a power cut, when controllers can be enabled again, ns
 * @born: when the power went on, ns
 * @paused: until when commands wait, as somebody copies what it holds, ns; 0: they do not
 * @store: the storage
 * @capacity: bytes of it
 * @page_locks: keep the pages of storage
 * @core: the model, entered under @core_lock only
 * @core_lock: orders what enters the core
 * @admin_lock: held over an admin command: of several controllers one at a time
 * @ns: namespaces, by NSID
 * @zone_changes: nvc_zone_changed() when hosts were last told
 * @undo: what a power cut may bring back, or NULL
 * @lost: while the power of all devices fails, room for what this one loses, else NULL
 * @trace: every input of the core, or NULL
 * @state: what others read and write of it while the power is off
 * @ctrls: the controllers, while the power is on
 * @nr_ctrls: how many
 */
struct nvl_subsys {
	const char *name;
	const struct nvl_settings *set;
	const struct nvl_place *place;
	struct nvl_life *life;
	bool on;
	bool ran;
	u64 ready;
	u64 born;
	u64 paused;

	struct nvl_store store;
	u64 capacity;
	struct nvl_page_lock page_locks[NVL_PAGE_LOCKS];
	struct nvc *core;
	spinlock_t core_lock;		/* the core, as its interface wants */
	struct mutex admin_lock;	/* namespaces, before the workers' locks */
	struct nvl_ns ns[NVC_MAX_NS + 1];
	u64 zone_changes;
	struct nvl_undo *undo;
	struct nvc_lost *lost;
	struct nvl_trace *trace;
	struct nvl_state *state;

	struct nvl_ctrl *ctrls[NVL_MAX_CTRLS];
	unsigned int nr_ctrls;
};

/**
 * nvl_page_lock() - what keeps a page of storage
 * @subsys: the subsystem
 * @offset: of a byte in the page
 *
 * Return: the lock.
 */
static inline spinlock_t *nvl_page_lock(struct nvl_subsys *subsys, u64 offset)
{
	return &subsys->page_locks[offset / PAGE_SIZE % NVL_PAGE_LOCKS].lock;
}

/**
 * nvl_all_ctrls() - the controllers of a subsystem
 * @subsys: the subsystem
 *
 * Return: a bit for each.
 */
static inline u32 nvl_all_ctrls(const struct nvl_subsys *subsys)
{
	return GENMASK(subsys->nr_ctrls - 1, 0);
}

/**
 * nvl_device_is_on() - whether hosts see a device
 * @device: the device, locked
 *
 * Return: true if the power is on.
 */
static inline bool nvl_device_is_on(const struct nvl_device *device)
{
	return device->subsys && device->subsys->on;
}

/**
 * nvl_subsys_paused() - whether commands are to wait in their queues
 * @subsys: the subsystem
 *
 * Return: true if so.
 */
static inline bool nvl_subsys_paused(const struct nvl_subsys *subsys)
{
	u64 until = READ_ONCE(subsys->paused);

	return unlikely(until) && ktime_get_ns() < until;
}

/* subsys.c */
struct nvl_subsys *nvl_subsys_make(struct nvl_device *device);
void nvl_subsys_free(struct nvl_subsys *subsys);
int nvl_subsys_start(struct nvl_subsys *subsys);
void nvl_subsys_stop(struct nvl_subsys *subsys);
int nvl_subsys_cut(struct nvl_subsys *subsys);
struct nvc_lost *nvl_subsys_may_lose(const struct nvl_subsys *subsys);
void nvl_subsys_lose(struct nvl_subsys *subsys, unsigned int trouble, struct nvc_lost *lost);

/* namespace.c */
void nvl_freeze(struct nvl_subsys *subsys);
void nvl_thaw(struct nvl_subsys *subsys);

/* state.c */
int nvl_state_show(struct nvl_subsys *subsys);
void nvl_state_hide(struct nvl_subsys *subsys);
int nvl_state_enter(struct nvl_subsys *subsys);
void nvl_state_leave(struct nvl_subsys *subsys);
int nvl_state_close(struct nvl_subsys *subsys);
void nvl_state_part(struct nvl_subsys *subsys);
void nvl_state_open(struct nvl_subsys *subsys);

/* region.c */
int nvl_region_check(const struct nvl_place *place);
int nvl_store_map(struct nvl_subsys *subsys);
void nvl_store_unmap(struct nvl_subsys *subsys);
u8 *nvl_store_at(struct nvl_subsys *subsys, u64 offset, u32 *len);

/* zone.c */
void nvl_zone_tell(struct nvl_subsys *subsys);

/* space.c */
int nvl_spaces_make(struct nvl_subsys *subsys, struct nvl_device *device);

/* fault.c */
int nvl_faults_arm(struct nvl_subsys *subsys, struct nvl_device *device);

#endif

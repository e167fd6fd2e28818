// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of a subsystem: made, what it holds is there, and with the power on
 * it has controllers. All of them run before any is shown, and none is stopped
 * before all are hidden, as an admin command of one reaches into the others.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "nvc_kv.h"
#include "nvc_zns.h"
#include "nvlab.h"
#include "trace.h"

/* Why there can be no such device. */
static void nvl_subsys_explain(const struct nvl_subsys *subsys, const struct nvc_config *config)
{
	const char *why = NULL;

	if (config->kind == NVC_ZNS)
		why = nvc_zns_problem(config);
	else if (config->kind == NVC_KV)
		why = nvc_kv_problem(config);
	pr_err("%s: %s\n", subsys->name,
	       why ?: "a value is out of range: block size, timing, medium, or capacity");
}

static int nvl_subsys_init_core(struct nvl_subsys *subsys)
{
	const struct nvl_settings *set = subsys->set;
	struct nvc_config config = {
		.kind = set->kind,
		.block_shift = ilog2(set->block_size),
		.vwc = set->vwc,
		.seed = set->seed,
		.timing = set->timing,
		.model = set->medium,
	};
	int err;

	config.blocks = subsys->capacity >> config.block_shift;
	err = nvc_check(&config);
	if (err) {
		nvl_subsys_explain(subsys, &config);
		return err;
	}
	return nvl_core_init(subsys, &config);
}

static int nvl_subsys_alloc_ctrls(struct nvl_subsys *subsys)
{
	struct nvl_ctrl *ctrl;
	unsigned int i;

	for (i = 0; i < subsys->nr_ctrls; i++) {
		ctrl = nvl_ctrl_alloc(subsys, i);
		if (IS_ERR(ctrl))
			return PTR_ERR(ctrl);
		subsys->ctrls[i] = ctrl;
	}
	return 0;
}

static void nvl_subsys_init(struct nvl_subsys *subsys, struct nvl_device *device)
{
	u32 i;

	subsys->name = config_item_name(&device->group.cg_item);
	subsys->set = &device->set;
	subsys->place = &device->place;
	subsys->life = &device->life;
	subsys->nr_ctrls = device->place.bars;
	subsys->capacity = device->place.size - (u64)device->place.bars * NVL_BAR_SIZE;
	spin_lock_init(&subsys->core_lock);
	mutex_init(&subsys->admin_lock);
	for (i = 0; i < NVL_PAGE_LOCKS; i++)
		spin_lock_init(&subsys->page_locks[i].lock);
	/* what more than one controller can have, more than one has */
	for (i = 1; i <= NVC_MAX_NS; i++)
		subsys->ns[i].shared = subsys->nr_ctrls > 1;
}

static int nvl_subsys_alloc(struct nvl_subsys *subsys, struct nvl_device *device)
{
	return nvl_trace_alloc(subsys) ?: nvl_subsys_init_core(subsys) ?:
	       nvl_spaces_make(subsys, device) ?: nvl_faults_arm(subsys, device) ?:
	       nvl_undo_alloc(subsys) ?: nvl_store_map(subsys);
}

static void nvl_subsys_release(struct nvl_subsys *subsys)
{
	nvl_store_unmap(subsys);
	nvl_undo_free(subsys);
	kvfree(subsys->core);
	nvl_trace_free(subsys);
	kvfree(subsys);
}

/**
 * nvl_subsys_make() - make the subsystem of a device, its power off
 * @device: the device, locked, its place found
 *
 * Return: the subsystem, -EINVAL or -ERANGE (a value), -ENOMEM, or as
 * nvl_spaces_make(), nvl_faults_arm(), nvl_store_map() and nvl_trace_show().
 */
struct nvl_subsys *nvl_subsys_make(struct nvl_device *device)
{
	struct nvl_subsys *subsys;
	int err;

	subsys = kvzalloc(sizeof(*subsys), GFP_KERNEL);
	if (!subsys)
		return ERR_PTR(-ENOMEM);
	nvl_subsys_init(subsys, device);
	err = nvl_subsys_alloc(subsys, device);
	if (err)
		goto release;
	err = nvl_trace_show(subsys);
	if (err)
		goto release;
	err = nvl_state_show(subsys);
	if (err)
		goto hide_trace;
	return subsys;

hide_trace:
	nvl_trace_hide(subsys);
release:
	nvl_subsys_release(subsys);
	return ERR_PTR(err);
}

/**
 * nvl_subsys_free() - undo nvl_subsys_make()
 * @subsys: the subsystem, its power off
 */
void nvl_subsys_free(struct nvl_subsys *subsys)
{
	nvl_state_hide(subsys);
	nvl_trace_hide(subsys);
	nvl_subsys_release(subsys);
}

static void nvl_subsys_free_ctrls(struct nvl_subsys *subsys)
{
	unsigned int i;

	for (i = 0; i < subsys->nr_ctrls; i++) {
		if (subsys->ctrls[i])
			nvl_ctrl_free(subsys->ctrls[i]);
		subsys->ctrls[i] = NULL;
	}
}

/* The first @nr of them. */
static void nvl_subsys_stop_ctrls(struct nvl_subsys *subsys, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		nvl_control_stop(subsys->ctrls[i]);
	for (i = 0; i < nr; i++)
		nvl_ctrl_stop(subsys->ctrls[i]);
}

static int nvl_subsys_start_ctrls(struct nvl_subsys *subsys)
{
	unsigned int i;
	int err;

	for (i = 0; i < subsys->nr_ctrls; i++) {
		err = nvl_ctrl_start(subsys->ctrls[i]);
		if (err) {
			nvl_subsys_stop_ctrls(subsys, i);
			return err;
		}
	}
	return 0;
}

static void nvl_subsys_hide_ctrls(struct nvl_subsys *subsys, unsigned int nr)
{
	while (nr)
		nvl_ctrl_hide(subsys->ctrls[--nr]);
}

static int nvl_subsys_show_ctrls(struct nvl_subsys *subsys)
{
	unsigned int i;
	int err;

	for (i = 0; i < subsys->nr_ctrls; i++) {
		err = nvl_ctrl_show(subsys->ctrls[i]);
		if (err) {
			nvl_subsys_hide_ctrls(subsys, i);
			return err;
		}
	}
	return 0;
}

static int nvl_subsys_power(struct nvl_subsys *subsys)
{
	int err;

	err = nvl_subsys_alloc_ctrls(subsys);
	if (err)
		goto free_ctrls;
	err = nvl_subsys_start_ctrls(subsys);
	if (err)
		goto free_ctrls;
	err = nvl_subsys_show_ctrls(subsys);
	if (err)
		goto stop_ctrls;
	return 0;

stop_ctrls:
	nvl_subsys_stop_ctrls(subsys, subsys->nr_ctrls);
free_ctrls:
	nvl_subsys_free_ctrls(subsys);
	return err;
}

/**
 * nvl_subsys_start() - turn the power on, and show the controllers to hosts
 * @subsys: the subsystem
 *
 * Return: 0, -EBUSY (its state is open), -EBADMSG (what was written there is no
 * state of this device), or as nvl_ctrl_alloc(), nvl_ctrl_start() and nvl_ctrl_show().
 */
int nvl_subsys_start(struct nvl_subsys *subsys)
{
	int err;

	err = nvl_state_close(subsys);
	if (err)
		return err;
	nvl_trace_begin(subsys);
	if (subsys->ran)
		nvl_core_wake(subsys);
	subsys->ran = true;
	subsys->born = ktime_get_ns();
	subsys->life->cycles++;
	err = nvl_subsys_power(subsys);
	subsys->on = !err;
	nvl_state_open(subsys);
	return err;
}

/* Pulled while the host used it, by whichever way in. */
static void nvl_subsys_note_end(struct nvl_subsys *subsys)
{
	bool unsafe = false;
	unsigned int i;

	for (i = 0; i < subsys->nr_ctrls; i++)
		unsafe |= subsys->ctrls[i]->unsafe;
	subsys->life->unsafe += unsafe;
	subsys->life->on += ktime_get_ns() - subsys->born;
}

/* A driver need not wait for answers from what has no power. */
static void nvl_subsys_give_up(struct nvl_subsys *subsys)
{
	unsigned int i;

	for (i = 0; i < subsys->nr_ctrls; i++) {
		if (!test_bit(NVL_TROUBLE_DARK, &subsys->ctrls[i]->trouble))
			continue;
		set_bit(NVL_TROUBLE_UNPLUG, &subsys->ctrls[i]->trouble);
		nvl_control_kick(subsys->ctrls[i]);
	}
}

static void nvl_subsys_unplug(struct nvl_subsys *subsys)
{
	nvl_subsys_give_up(subsys);
	nvl_subsys_hide_ctrls(subsys, subsys->nr_ctrls);
	nvl_subsys_stop_ctrls(subsys, subsys->nr_ctrls);
	nvl_subsys_note_end(subsys);
	nvl_subsys_free_ctrls(subsys);
}

/**
 * nvl_subsys_stop() - undo nvl_subsys_start(), in use or not
 * @subsys: the subsystem
 */
void nvl_subsys_stop(struct nvl_subsys *subsys)
{
	nvl_trace_end(subsys);
	nvl_state_part(subsys);
	nvl_subsys_unplug(subsys);
	subsys->on = false;
	nvl_state_open(subsys);
}

/**
 * nvl_subsys_may_lose() - room for what nvl_subsys_lose() loses
 * @subsys: the subsystem
 *
 * Return: the room, for kvfree(), or NULL.
 */
struct nvc_lost *nvl_subsys_may_lose(const struct nvl_subsys *subsys)
{
	return kvcalloc(nvc_undo_units(subsys->core) + 1, sizeof(struct nvc_lost), GFP_KERNEL);
}

/**
 * nvl_subsys_lose() - the power goes, and what was buffered is undone
 * @subsys: the subsystem, with no command in hand
 * @trouble: what that is to its controllers, enum nvl_trouble
 * @lost: room
 */
void nvl_subsys_lose(struct nvl_subsys *subsys, unsigned int trouble, struct nvc_lost *lost)
{
	unsigned int i;
	u32 nr;

	for (i = 0; i < subsys->nr_ctrls; i++)
		set_bit(trouble, &subsys->ctrls[i]->trouble);
	nr = nvl_core_cut(subsys, lost);
	nvl_undo_restore(subsys, lost, nr);
}

/* From one moment on nothing is fetched or completed, nor is a command in hand. */
static void nvl_subsys_fail(struct nvl_subsys *subsys, struct nvc_lost *lost)
{
	unsigned int i;

	mutex_lock(&subsys->admin_lock);
	nvl_freeze(subsys);
	nvl_subsys_lose(subsys, NVL_TROUBLE_UNPLUG, lost);
	nvl_thaw(subsys);
	mutex_unlock(&subsys->admin_lock);
	for (i = 0; i < subsys->nr_ctrls; i++)
		nvl_control_kick(subsys->ctrls[i]);
}

/**
 * nvl_subsys_cut() - the power fails, and comes back
 * @subsys: the subsystem, its power on
 *
 * To hosts the link is lost, and then there is a drive again, which takes its
 * time to get ready.
 *
 * Return: 0, -ENOMEM (nothing has happened), or as nvl_subsys_start() (its
 * power stays off).
 */
int nvl_subsys_cut(struct nvl_subsys *subsys)
{
	struct nvc_lost *lost;
	int err;

	lost = nvl_subsys_may_lose(subsys);
	if (!lost)
		return -ENOMEM;
	nvl_state_part(subsys);
	nvl_subsys_fail(subsys, lost);
	kvfree(lost);
	nvl_subsys_unplug(subsys);
	subsys->born = ktime_get_ns();
	subsys->life->cycles++;
	err = nvl_subsys_power(subsys);
	subsys->on = !err;
	nvl_state_open(subsys);
	return err;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* What enters the core beside commands: each is an input, and so is traced. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/vmalloc.h>

#include "nvlab.h"
#include "trace.h"

static struct nvc_trace_input nvl_input(struct nvl_subsys *subsys, u16 kind, u64 now)
{
	return (struct nvc_trace_input){ .seq = nvc_seq(subsys->core), .kind = kind, .now = now };
}

/* One of which nothing more is to be said. */
static void nvl_input_plain(struct nvl_subsys *subsys, u16 kind, u64 now)
{
	struct nvc_trace_input record = nvl_input(subsys, kind, now);

	nvl_trace_input(subsys, &record, sizeof(record));
}

/* All parameters of a medium, in as many records as that takes. */
static void nvl_input_model(struct nvl_subsys *subsys, u64 seq, u64 now,
			    const struct nvc_model *model)
{
	const u32 *values = (const u32 *)model;
	const u32 count = sizeof(*model) / sizeof(*values);
	struct nvc_trace_model record = {
		.input = { .seq = seq, .kind = NVC_TRACE_MODEL, .now = now }
	};
	u32 first;

	for (first = 0; first < count; first += NVC_TRACE_VALUES_EACH) {
		record.input.slot = first;
		record.input.set = min_t(u32, count - first, NVC_TRACE_VALUES_EACH);
		memcpy(record.values, values + first, record.input.set * sizeof(*values));
		nvl_trace_input(subsys, &record, sizeof(record));
	}
}

/**
 * nvl_core_init() - make the core
 * @subsys: the subsystem
 * @config: what as
 *
 * Return: 0, -EINVAL, -ERANGE, or -ENOMEM.
 */
int nvl_core_init(struct nvl_subsys *subsys, const struct nvc_config *config)
{
	struct nvc_trace_config record = {
		.blocks = config->blocks,
		.seed = config->seed,
		.kind = config->kind,
		.block_shift = config->block_shift,
		.vwc = config->vwc,
		.timing = config->timing,
	};
	int err;

	subsys->core = vzalloc(nvc_size(config));
	if (!subsys->core)
		return -ENOMEM;
	err = nvc_init(subsys->core, config);
	if (err)
		return err;
	record.input = nvl_input(subsys, NVC_TRACE_CONFIG, ktime_get_ns());
	nvl_trace_input(subsys, &record, sizeof(record));
	nvl_input_model(subsys, 0, record.input.now, &config->model);
	return 0;
}

/**
 * nvl_core_reset() - the only controller in use was reset
 * @subsys: the subsystem
 */
void nvl_core_reset(struct nvl_subsys *subsys)
{
	u64 now;

	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	nvc_reset(subsys->core, now);
	nvl_input_plain(subsys, NVC_TRACE_RESET, now);
	spin_unlock(&subsys->core_lock);
}

/**
 * nvl_core_cut() - the power goes
 * @subsys: the subsystem, with no command in hand
 * @lost: nvc_undo_units() entries: what is to be restored
 *
 * Return: entries of @lost.
 */
u32 nvl_core_cut(struct nvl_subsys *subsys, struct nvc_lost *lost)
{
	u64 now;
	u32 nr;

	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	nr = nvc_cut(subsys->core, now, lost, &subsys->ready);
	nvl_input_plain(subsys, NVC_TRACE_CUT, now);
	spin_unlock(&subsys->core_lock);
	return nr;
}

/**
 * nvl_core_wake() - the power is on again, after it was switched off in order
 * @subsys: the subsystem
 */
void nvl_core_wake(struct nvl_subsys *subsys)
{
	u64 now;

	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	nvc_wake(subsys->core, now);
	nvl_input_plain(subsys, NVC_TRACE_WAKE, now);
	spin_unlock(&subsys->core_lock);
}

/**
 * nvl_core_taken() - it goes on from a state that was written
 * @subsys: the subsystem, its power off
 * @state: the header of it
 */
void nvl_core_taken(struct nvl_subsys *subsys, const struct nvc_snapshot *state)
{
	struct nvc_trace_state record = { .size = state->size, .checksum = state->checksum };

	spin_lock(&subsys->core_lock);
	subsys->ran = true;
	record.input = nvl_input(subsys, NVC_TRACE_STATE, ktime_get_ns());
	nvl_trace_input(subsys, &record, sizeof(record));
	spin_unlock(&subsys->core_lock);
}

/**
 * nvl_core_timing() - change how fast the medium is
 * @subsys: the subsystem
 * @timing: how fast
 *
 * Return: 0, -EINVAL, -ERANGE, or -EBUSY (its state is open).
 */
int nvl_core_timing(struct nvl_subsys *subsys, const struct nvc_timing *timing)
{
	struct nvc_trace_timing record = { .timing = *timing };
	u64 now;
	int err = nvl_state_enter(subsys);

	if (err)
		return err;
	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	err = nvc_set_timing(subsys->core, now, timing);
	if (!err) {
		record.input = nvl_input(subsys, NVC_TRACE_TIMING, now);
		nvl_trace_input(subsys, &record, sizeof(record));
	}
	spin_unlock(&subsys->core_lock);
	nvl_state_leave(subsys);
	return err;
}

/**
 * nvl_core_model() - change parameters of the medium
 * @subsys: the subsystem
 * @model: all of them, as they shall be
 *
 * Return: 0, -EBUSY (not while it is on, or its state is open), or -ERANGE.
 */
int nvl_core_model(struct nvl_subsys *subsys, const struct nvc_model *model)
{
	u64 now;
	int err = nvl_state_enter(subsys);

	if (err)
		return err;
	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	err = nvc_set_model(subsys->core, now, model);
	if (!err)
		nvl_input_model(subsys, nvc_seq(subsys->core), now, model);
	spin_unlock(&subsys->core_lock);
	nvl_state_leave(subsys);
	return err;
}

/**
 * nvl_core_stats() - the accounts of an SSD
 * @subsys: the subsystem
 * @stats: a copy; all zero for other kinds
 */
void nvl_core_stats(struct nvl_subsys *subsys, struct nvc_ssd_stats *stats)
{
	spin_lock(&subsys->core_lock);
	nvc_stats(subsys->core, stats);
	spin_unlock(&subsys->core_lock);
}

/**
 * nvl_core_health() - how worn a device is
 * @subsys: the subsystem
 * @health: a copy
 */
void nvl_core_health(struct nvl_subsys *subsys, struct nvc_health *health)
{
	spin_lock(&subsys->core_lock);
	nvc_health(subsys->core, health);
	spin_unlock(&subsys->core_lock);
}

/**
 * nvl_core_cache() - the volatile write cache was enabled or disabled
 * @subsys: the subsystem
 * @ctrl: for which of its controllers, from 0
 * @on: enabled
 */
void nvl_core_cache(struct nvl_subsys *subsys, u16 ctrl, bool on)
{
	struct nvc_trace_input record;
	u64 now;

	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	nvc_set_cache(subsys->core, now, ctrl, on);
	record = nvl_input(subsys, NVC_TRACE_CACHE, now);
	record.slot = ctrl;
	record.set = on;
	nvl_trace_input(subsys, &record, sizeof(record));
	nvl_zone_tell(subsys);
	spin_unlock(&subsys->core_lock);
}

/**
 * nvl_core_ns() - change a namespace
 * @subsys: the subsystem, with no command in hand
 * @change: what
 *
 * Return: as nvc_ns_change().
 */
int nvl_core_ns(struct nvl_subsys *subsys, const struct nvc_ns_change *change)
{
	struct nvc_trace_ns record = { .change = *change };
	u64 now;
	int err;

	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	err = nvc_ns_change(subsys->core, now, change);
	if (!err) {
		record.input = nvl_input(subsys, NVC_TRACE_NS, now);
		nvl_trace_input(subsys, &record, sizeof(record));
		nvl_zone_tell(subsys);
	}
	spin_unlock(&subsys->core_lock);
	return err;
}

/**
 * nvl_core_rule() - have commands go wrong, or no longer
 * @subsys: the subsystem
 * @slot: of the rule
 * @rule: the rule, or NULL for none
 *
 * Return: 0, -EINVAL, -ERANGE, or -EBUSY (its state is open).
 */
int nvl_core_rule(struct nvl_subsys *subsys, u32 slot, const struct nvc_rule *rule)
{
	struct nvc_trace_rule record = {};
	u64 now;
	int err = nvl_state_enter(subsys);

	if (err)
		return err;
	spin_lock(&subsys->core_lock);
	now = ktime_get_ns();
	err = nvc_set_rule(subsys->core, now, slot, rule);
	if (!err) {
		record.input = nvl_input(subsys, NVC_TRACE_RULE, now);
		record.input.slot = slot;
		record.input.set = !!rule;
		if (rule)
			record.rule = *rule;
		nvl_trace_input(subsys, &record, sizeof(record));
	}
	spin_unlock(&subsys->core_lock);
	nvl_state_leave(subsys);
	return err;
}

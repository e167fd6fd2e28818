// SPDX-License-Identifier: GPL-2.0-or-later
/* What enters the core beside commands: each is an input, and so is traced. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/vmalloc.h>

#include "nvlab.h"
#include "trace.h"

static struct nvc_trace_input nvl_input(struct nvl_ctrl *ctrl, u16 kind, u64 now)
{
	return (struct nvc_trace_input){ .seq = nvc_seq(ctrl->core), .kind = kind, .now = now };
}

/* All parameters of a medium, in as many records as that takes. */
static void nvl_input_model(struct nvl_ctrl *ctrl, u64 seq, u64 now, const struct nvc_model *model)
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
		nvl_trace_input(ctrl, &record, sizeof(record));
	}
}

/**
 * nvl_core_init() - make the core
 * @ctrl: the controller
 * @config: what as
 *
 * Return: 0, -EINVAL, -ERANGE, or -ENOMEM.
 */
int nvl_core_init(struct nvl_ctrl *ctrl, const struct nvc_config *config)
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

	ctrl->core = vzalloc(nvc_size(config));
	if (!ctrl->core)
		return -ENOMEM;
	err = nvc_init(ctrl->core, config);
	if (err)
		return err;
	record.input = nvl_input(ctrl, NVC_TRACE_CONFIG, ktime_get_ns());
	nvl_trace_input(ctrl, &record, sizeof(record));
	nvl_input_model(ctrl, 0, record.input.now, &config->model);
	return 0;
}

/**
 * nvl_core_reset() - the controller was reset
 * @ctrl: the controller
 */
void nvl_core_reset(struct nvl_ctrl *ctrl)
{
	struct nvc_trace_input record;
	u64 now;

	spin_lock(&ctrl->core_lock);
	now = ktime_get_ns();
	nvc_reset(ctrl->core, now);
	record = nvl_input(ctrl, NVC_TRACE_RESET, now);
	nvl_trace_input(ctrl, &record, sizeof(record));
	spin_unlock(&ctrl->core_lock);
}

/**
 * nvl_core_timing() - change how fast the medium is
 * @ctrl: the controller
 * @timing: how fast
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int nvl_core_timing(struct nvl_ctrl *ctrl, const struct nvc_timing *timing)
{
	struct nvc_trace_timing record = { .timing = *timing };
	u64 now;
	int err;

	spin_lock(&ctrl->core_lock);
	now = ktime_get_ns();
	err = nvc_set_timing(ctrl->core, now, timing);
	if (!err) {
		record.input = nvl_input(ctrl, NVC_TRACE_TIMING, now);
		nvl_trace_input(ctrl, &record, sizeof(record));
	}
	spin_unlock(&ctrl->core_lock);
	return err;
}

/**
 * nvl_core_model() - change parameters of the medium
 * @ctrl: the controller
 * @model: all of them, as they shall be
 *
 * Return: 0, -EBUSY, or -ERANGE.
 */
int nvl_core_model(struct nvl_ctrl *ctrl, const struct nvc_model *model)
{
	u64 now;
	int err;

	spin_lock(&ctrl->core_lock);
	now = ktime_get_ns();
	err = nvc_set_model(ctrl->core, now, model);
	if (!err)
		nvl_input_model(ctrl, nvc_seq(ctrl->core), now, model);
	spin_unlock(&ctrl->core_lock);
	return err;
}

/**
 * nvl_core_stats() - the accounts of an SSD
 * @ctrl: the controller
 * @stats: a copy; all zero for other kinds
 */
void nvl_core_stats(struct nvl_ctrl *ctrl, struct nvc_ssd_stats *stats)
{
	spin_lock(&ctrl->core_lock);
	nvc_stats(ctrl->core, stats);
	spin_unlock(&ctrl->core_lock);
}

/**
 * nvl_core_cache() - the volatile write cache was enabled or disabled
 * @ctrl: the controller
 * @on: enabled
 */
void nvl_core_cache(struct nvl_ctrl *ctrl, bool on)
{
	struct nvc_trace_input record;
	u64 now;

	spin_lock(&ctrl->core_lock);
	now = ktime_get_ns();
	nvc_set_cache(ctrl->core, now, on);
	record = nvl_input(ctrl, NVC_TRACE_CACHE, now);
	record.set = on;
	nvl_trace_input(ctrl, &record, sizeof(record));
	spin_unlock(&ctrl->core_lock);
}

/**
 * nvl_core_ns() - change a namespace
 * @ctrl: the controller, with no command in hand
 * @change: what
 *
 * Return: as nvc_ns_change().
 */
int nvl_core_ns(struct nvl_ctrl *ctrl, const struct nvc_ns_change *change)
{
	struct nvc_trace_ns record = { .change = *change };
	u64 now;
	int err;

	spin_lock(&ctrl->core_lock);
	now = ktime_get_ns();
	err = nvc_ns_change(ctrl->core, now, change);
	if (!err) {
		record.input = nvl_input(ctrl, NVC_TRACE_NS, now);
		nvl_trace_input(ctrl, &record, sizeof(record));
	}
	spin_unlock(&ctrl->core_lock);
	return err;
}

/**
 * nvl_core_rule() - have commands go wrong, or no longer
 * @ctrl: the controller
 * @slot: of the rule
 * @rule: the rule, or NULL for none
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int nvl_core_rule(struct nvl_ctrl *ctrl, u32 slot, const struct nvc_rule *rule)
{
	struct nvc_trace_rule record = {};
	u64 now;
	int err;

	spin_lock(&ctrl->core_lock);
	now = ktime_get_ns();
	err = nvc_set_rule(ctrl->core, now, slot, rule);
	if (!err) {
		record.input = nvl_input(ctrl, NVC_TRACE_RULE, now);
		record.input.slot = slot;
		record.input.set = !!rule;
		if (rule)
			record.rule = *rule;
		nvl_trace_input(ctrl, &record, sizeof(record));
	}
	spin_unlock(&ctrl->core_lock);
	return err;
}

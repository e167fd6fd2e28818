// SPDX-License-Identifier: GPL-2.0-or-later
/* Get and Set Features (NVMe 1.4, 5.13 and 5.21). None can be saved. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>

#include "fdp.h"
#include "nvlab.h"
#include "trace.h"

#define NVL_FEAT_NAMESPACE	BIT(1)
#define NVL_FEAT_CHANGEABLE	BIT(2)
#define NVL_FEAT_SAVE		BIT(31)

/* What the host may ask to be told of: SMART warnings 4:0, namespaces 8. */
#define NVL_ASYNC_CONFIG	0x11f

/* I/O Command Set Profile, of NVMe 2.0: which combination, in bits 8:0 */
#define NVL_FEAT_SETS		0x19
#define NVL_SETS_INDEX		0x1ff
#define NVL_SC_SETS_REJECTED	0x12b

/* Key Value Configuration, of the Key Value command set 1.0, and its EDNEK */
#define NVL_FEAT_KEYS		0x20
#define NVL_KEYS_EDNEK		BIT(0)

/* All thresholds, in Set Features */
#define NVL_SENSORS_ALL		0xf

/* DULBE, of Error Recovery; beside TLER */
#define NVL_RECOVERY_DULBE	BIT(16)

static const struct nvl_features nvl_features_default = {
	.arbitration	= 3,
	.temperature	= { NVL_WARNING_TEMPERATURE, 0 },
	.vwc		= 1,
};

static void nvl_recovery_reset(struct nvl_subsys *subsys, u32 nsid)
{
	const struct nvc_ns *ns = nvc_ns_get(subsys->core, nsid);

	subsys->ns[nsid].recovery = 0;
	if (ns && ns->flags & (NVC_NS_DULBE | NVC_NS_STRICT_DELETE))
		nvl_ns_switch(subsys, nsid, ns->flags & NVC_NS_PROTECTED);
}

/* Of namespaces: not while another controller has them too. */
static void nvl_recoveries_reset(struct nvl_ctrl *ctrl)
{
	u32 nsid;

	mutex_lock(&ctrl->subsys->admin_lock);
	for (nsid = 1; nvl_ctrl_alone(ctrl) && nsid <= NVC_MAX_NS; nsid++)
		nvl_recovery_reset(ctrl->subsys, nsid);
	mutex_unlock(&ctrl->subsys->admin_lock);
}

/**
 * nvl_features_reset() - as after a controller reset
 * @ctrl: the controller
 */
void nvl_features_reset(struct nvl_ctrl *ctrl)
{
	if (ctrl->set->vwc && !ctrl->feat.vwc)
		nvl_core_cache(ctrl->subsys, ctrl->index, true);
	nvl_recoveries_reset(ctrl);
	ctrl->feat = nvl_features_default;
	ctrl->reset_at = ktime_get_ns();
	WRITE_ONCE(ctrl->coalescing, 0);
	/* the admin queue's is never coalesced */
	bitmap_zero(ctrl->vector_config, NVL_MAX_QUEUES + 1);
	__set_bit(0, ctrl->vector_config);
}

static u32 nvl_queues_result(const struct nvl_ctrl *ctrl)
{
	u32 count = ctrl->nr_queues - 1;

	return count << 16 | count;
}

/* TMPSEL 0: composite; THSEL 0: over, 1: under. Other sensors: there are none. */
static u32 *nvl_temperature(struct nvl_features *feat, u32 dw11, bool all)
{
	u32 sensor = dw11 >> 16 & 0xf;
	u32 type = dw11 >> 20 & 3;

	if (sensor && !(all && sensor == NVL_SENSORS_ALL))
		return NULL;
	return type < 2 ? &feat->temperature[type] : NULL;
}

/* Features that are a value and nothing else. */
static u32 *nvl_feature_value(struct nvl_ctrl *ctrl, struct nvl_features *feat,
			      u8 fid, u32 dw11, bool set)
{
	switch (fid) {
	case NVME_FEAT_ARBITRATION:
		return &feat->arbitration;
	case NVME_FEAT_POWER_MGMT:
		return &feat->power;
	case NVME_FEAT_TEMP_THRESH:
		return nvl_temperature(feat, dw11, set);
	case NVME_FEAT_VOLATILE_WC:
		return ctrl->set->vwc ? &feat->vwc : NULL;
	case NVME_FEAT_IRQ_COALESCE:
		return &feat->coalescing;
	case NVME_FEAT_WRITE_ATOMIC:
		return &feat->atomicity;
	case NVME_FEAT_ASYNC_EVENT:
		return &feat->async_config;
	default:
		return NULL;
	}
}

static bool nvl_feature_of_namespace(u8 fid)
{
	return fid == NVME_FEAT_ERR_RECOVERY || fid == NVME_FEAT_WRITE_PROTECT ||
	       fid == NVL_FEAT_KEYS || fid == NVL_FEAT_FDP_EVENTS;
}

static u16 nvl_get_vector(struct nvl_ctrl *ctrl, u32 dw11, bool defaults, u32 *result)
{
	u16 vector = dw11;

	if (vector >= ctrl->irqs.nr)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	*result = vector | (defaults ? !vector : test_bit(vector, ctrl->vector_config)) << 16;
	return 0;
}

/* Where there is one command set, nobody is asked for a combination. */
static u16 nvl_sets_known(const struct nvl_ctrl *ctrl)
{
	return nvl_has_sets(ctrl->set) ? 0 : NVME_SC_INVALID_FIELD | NVL_DNR;
}

static u16 nvl_get_of_namespace(struct nvl_ctrl *ctrl, u8 fid, u32 nsid, bool defaults,
				u32 *result)
{
	u16 status = nvl_ns_status(ctrl, nsid);
	u32 flags;

	if (status || defaults)
		return status;
	flags = nvc_ns_get(ctrl->subsys->core, nsid)->flags;
	if (fid == NVME_FEAT_WRITE_PROTECT)
		*result = flags & NVC_NS_PROTECTED ? NVME_NS_WRITE_PROTECT : 0;
	else if (fid == NVL_FEAT_KEYS)
		*result = flags & NVC_NS_STRICT_DELETE ? NVL_KEYS_EDNEK : 0;
	else
		*result = ctrl->subsys->ns[nsid].recovery |
			  (flags & NVC_NS_DULBE ? NVL_RECOVERY_DULBE : 0);
	return 0;
}

static u16 nvl_get_value(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u8 fid,
			 u32 select, u32 *result)
{
	bool defaults = select != NVL_SELECT_CURRENT;
	struct nvl_features feat = defaults ? nvl_features_default : ctrl->feat;
	u32 dw11 = le32_to_cpu(cmd->common.cdw11);
	const u32 *value;

	switch (fid) {
	case NVME_FEAT_NUM_QUEUES:
		*result = nvl_queues_result(ctrl);
		return 0;
	case NVL_FEAT_SETS: /* there is one combination, number 0 */
		return nvl_sets_known(ctrl);
	case NVME_FEAT_IRQ_CONFIG:
		return nvl_get_vector(ctrl, dw11, defaults, result);
	case NVME_FEAT_TIMESTAMP:
	case NVME_FEAT_HOST_BEHAVIOR:
		return nvl_get_feature_data(ctrl, cmd, fid, select);
	case NVL_FEAT_FDP:
		return nvl_fdp_get(ctrl, dw11, result);
	case NVL_FEAT_FDP_EVENTS:
		return nvl_fdp_get_events(ctrl, cmd, result);
	case NVL_FEAT_KEYS:
		if (ctrl->set->kind != NVC_KV)
			break;
		fallthrough;
	case NVME_FEAT_ERR_RECOVERY:
	case NVME_FEAT_WRITE_PROTECT:
		return nvl_get_of_namespace(ctrl, fid, le32_to_cpu(cmd->common.nsid),
					    defaults, result);
	}
	value = nvl_feature_value(ctrl, &feat, fid, dw11, false);
	if (!value)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	*result = *value;
	return 0;
}

/**
 * nvl_get_features() - Get Features
 * @ctrl: the controller
 * @cmd: the command
 * @result: double word 0
 *
 * Return: status field.
 */
u16 nvl_get_features(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		     u32 *result)
{
	u32 dw10 = le32_to_cpu(cmd->common.cdw10);
	u32 select = dw10 >> 8 & 7;
	u8 fid = dw10;
	u16 status;

	if (select > NVL_SELECT_SUPPORTED)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	status = nvl_get_value(ctrl, cmd, fid, select, result);
	if (!status && select == NVL_SELECT_SUPPORTED)
		*result = NVL_FEAT_CHANGEABLE |
			  (nvl_feature_of_namespace(fid) ? NVL_FEAT_NAMESPACE : 0);
	return status;
}

/* 0's based, and both more than nothing; only before there are queues. */
static u16 nvl_set_queues(struct nvl_ctrl *ctrl, u32 dw11, u32 *result)
{
	u16 qid;

	if ((dw11 & 0xffff) == 0xffff || dw11 >> 16 == 0xffff)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	for (qid = 1; qid <= ctrl->nr_queues; qid++)
		if (ctrl->cqs[qid] || ctrl->sqs[qid])
			return NVME_SC_CMD_SEQ_ERROR | NVL_DNR;
	*result = nvl_queues_result(ctrl);
	return 0;
}

static u16 nvl_set_vector(struct nvl_ctrl *ctrl, u32 dw11)
{
	bool disable = dw11 & 1 << 16;
	u16 vector = dw11;

	if (vector >= ctrl->irqs.nr || (!vector && !disable))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (disable)
		set_bit(vector, ctrl->vector_config);
	else
		clear_bit(vector, ctrl->vector_config);
	return 0;
}

static u16 nvl_set_one_namespace(struct nvl_ctrl *ctrl, u8 fid, u32 nsid, u32 dw11)
{
	const struct nvc_ns *ns = nvc_ns_get(ctrl->subsys->core, nsid);
	u32 flags = ns->flags & (NVC_NS_PROTECTED | NVC_NS_DULBE | NVC_NS_STRICT_DELETE);

	if (fid == NVME_FEAT_WRITE_PROTECT) {
		flags &= ~NVC_NS_PROTECTED;
		flags |= dw11 & 7 ? NVC_NS_PROTECTED : 0;
		nvl_ns_changed(ctrl->subsys, nsid, ns->attached);
	} else if (fid == NVL_FEAT_KEYS) {
		flags &= ~NVC_NS_STRICT_DELETE;
		flags |= dw11 & NVL_KEYS_EDNEK ? NVC_NS_STRICT_DELETE : 0;
	} else {
		flags &= ~NVC_NS_DULBE;
		flags |= dw11 & NVL_RECOVERY_DULBE ? NVC_NS_DULBE : 0;
		ctrl->subsys->ns[nsid].recovery = dw11;
	}
	return nvl_ns_switch(ctrl->subsys, nsid, flags);
}

static u16 nvl_set_of_namespace(struct nvl_ctrl *ctrl, u8 fid, u32 nsid, u32 dw11)
{
	u16 status = 0;

	/* neither until power off nor for ever; nor all at once */
	if (fid == NVME_FEAT_WRITE_PROTECT &&
	    ((dw11 & 7) > NVME_NS_WRITE_PROTECT || nsid == NVME_NSID_ALL))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	/* keys have no blocks to deallocate */
	if (fid == NVME_FEAT_ERR_RECOVERY && ctrl->set->kind == NVC_KV &&
	    dw11 & NVL_RECOVERY_DULBE)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (nsid != NVME_NSID_ALL)
		return nvl_ns_status(ctrl, nsid) ?: nvl_set_one_namespace(ctrl, fid, nsid, dw11);
	for (nsid = 1; nsid <= NVC_MAX_NS && !status; nsid++)
		if (!nvl_ns_status(ctrl, nsid))
			status = nvl_set_one_namespace(ctrl, fid, nsid, dw11);
	return status;
}

static u32 nvl_async_config(const struct nvl_ctrl *ctrl)
{
	return NVL_ASYNC_CONFIG | (ctrl->set->kind == NVC_ZNS ? NVL_ASYNC_ZONES : 0);
}

/* Reserved values, and options that were not offered. */
static bool nvl_value_valid(const struct nvl_ctrl *ctrl, u8 fid, u32 dw11)
{
	switch (fid) {
	case NVME_FEAT_POWER_MGMT:
		return !(dw11 & 0x1f);		/* one power state, number 0 */
	case NVME_FEAT_ASYNC_EVENT:
		return !(dw11 & ~nvl_async_config(ctrl));
	case NVME_FEAT_VOLATILE_WC:
	case NVME_FEAT_WRITE_ATOMIC:
		return dw11 <= 1;
	default:
		return true;
	}
}

static u32 nvl_value_mask(u8 fid)
{
	switch (fid) {
	case NVME_FEAT_ARBITRATION:
		return 0xffffff07;
	case NVME_FEAT_POWER_MGMT:
		return 0xff;
	case NVME_FEAT_TEMP_THRESH:
	case NVME_FEAT_IRQ_COALESCE:
		return 0xffff;
	default:
		return ~0U;
	}
}

static u16 nvl_set_value(struct nvl_ctrl *ctrl, u8 fid, u32 dw11)
{
	u32 *value = nvl_feature_value(ctrl, &ctrl->feat, fid, dw11, true);

	if (!value || !nvl_value_valid(ctrl, fid, dw11))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	*value = dw11 & nvl_value_mask(fid);
	if (fid == NVME_FEAT_VOLATILE_WC)
		nvl_core_cache(ctrl->subsys, ctrl->index, *value);
	if (fid == NVME_FEAT_IRQ_COALESCE)
		WRITE_ONCE(ctrl->coalescing, *value);
	return 0;
}

static bool nvl_feature_known(struct nvl_ctrl *ctrl, u8 fid)
{
	switch (fid) {
	case NVME_FEAT_NUM_QUEUES:
	case NVME_FEAT_IRQ_CONFIG:
	case NVME_FEAT_TIMESTAMP:
	case NVME_FEAT_HOST_BEHAVIOR:
	case NVME_FEAT_ERR_RECOVERY:
	case NVME_FEAT_WRITE_PROTECT:
		return true;
	case NVL_FEAT_KEYS:
		return ctrl->set->kind == NVC_KV;
	case NVL_FEAT_SETS:
		return !nvl_sets_known(ctrl);
	case NVL_FEAT_FDP:
	case NVL_FEAT_FDP_EVENTS:
		return nvl_handles(ctrl);
	default:
		return nvl_feature_value(ctrl, &ctrl->feat, fid, 0, true);
	}
}

/**
 * nvl_set_features() - Set Features
 * @ctrl: the controller
 * @cmd: the command
 * @result: double word 0
 *
 * Return: status field.
 */
u16 nvl_set_features(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
		     u32 *result)
{
	u32 dw10 = le32_to_cpu(cmd->common.cdw10);
	u32 dw11 = le32_to_cpu(cmd->common.cdw11);
	u32 nsid = le32_to_cpu(cmd->common.nsid);
	u8 fid = dw10;

	if (!nvl_feature_known(ctrl, fid))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (dw10 & NVL_FEAT_SAVE)
		return NVME_SC_FEATURE_NOT_SAVEABLE | NVL_DNR;
	if (nsid && nsid != NVME_NSID_ALL && !nvl_feature_of_namespace(fid))
		return NVME_SC_FEATURE_NOT_PER_NS | NVL_DNR;
	switch (fid) {
	case NVME_FEAT_NUM_QUEUES:
		return nvl_set_queues(ctrl, dw11, result);
	case NVL_FEAT_SETS:
		return dw11 & NVL_SETS_INDEX ? NVL_SC_SETS_REJECTED | NVL_DNR : 0;
	case NVME_FEAT_IRQ_CONFIG:
		return nvl_set_vector(ctrl, dw11);
	case NVME_FEAT_TIMESTAMP:
	case NVME_FEAT_HOST_BEHAVIOR:
		return nvl_set_feature_data(ctrl, cmd, fid);
	case NVL_FEAT_FDP:
		return nvl_fdp_set(ctrl, cmd);
	case NVL_FEAT_FDP_EVENTS:
		return nvl_fdp_set_events(ctrl, cmd);
	case NVME_FEAT_ERR_RECOVERY:
	case NVME_FEAT_WRITE_PROTECT:
	case NVL_FEAT_KEYS:
		return nvl_set_of_namespace(ctrl, fid, nsid, dw11);
	default:
		return nvl_set_value(ctrl, fid, dw11);
	}
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Get and Set Features (NVMe 1.4, 5.21). None can be saved. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>

#include "nvlab.h"

/* Select field of Get Features. */
enum {
	NVL_SELECT_CURRENT,
	NVL_SELECT_DEFAULT,
	NVL_SELECT_SAVED,
	NVL_SELECT_SUPPORTED,
};

#define NVL_FEAT_CHANGEABLE	BIT(2)
#define NVL_FEAT_SAVE		BIT(31)

/* What the host may ask to be told of: SMART warnings 4:0, notices 9:8. */
#define NVL_ASYNC_CONFIG	0x31f

static const struct nvl_features nvl_features_default = {
	.arbitration	= 3,
	.temperature	= { 273 + 70, 0 },
	.vwc		= 1,
};

/**
 * nvl_features_reset() - as after a controller reset
 * @ctrl: the controller
 */
void nvl_features_reset(struct nvl_ctrl *ctrl)
{
	ctrl->feat = nvl_features_default;
	bitmap_zero(ctrl->vector_config, NVL_MAX_QUEUES + 1);
}

static u32 nvl_queues_result(const struct nvl_ctrl *ctrl)
{
	u32 count = ctrl->nr_queues - 1;

	return count << 16 | count;
}

/* TMPSEL 0: composite; THSEL 0: over, 1: under. Other sensors: there are none. */
static u32 *nvl_temperature(struct nvl_features *feat, u32 dw11)
{
	u32 sensor = dw11 >> 16 & 0xf;
	u32 type = dw11 >> 20 & 3;

	return !sensor && type < 2 ? &feat->temperature[type] : NULL;
}

/* Features that are a value and nothing else. */
static u32 *nvl_feature_value(struct nvl_ctrl *ctrl, struct nvl_features *feat,
			      u8 fid, u32 dw11)
{
	switch (fid) {
	case NVME_FEAT_ARBITRATION:
		return &feat->arbitration;
	case NVME_FEAT_TEMP_THRESH:
		return nvl_temperature(feat, dw11);
	case NVME_FEAT_ERR_RECOVERY:
		return &feat->error_recovery;
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

static u16 nvl_get_vector(struct nvl_ctrl *ctrl, u32 dw11, bool defaults, u32 *result)
{
	u16 vector = dw11;

	if (vector >= ctrl->irqs.nr)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	*result = vector | (!defaults && test_bit(vector, ctrl->vector_config)) << 16;
	return 0;
}

static u16 nvl_get_value(struct nvl_ctrl *ctrl, u8 fid, u32 dw11, bool defaults,
			 u32 *result)
{
	struct nvl_features feat = defaults ? nvl_features_default : ctrl->feat;
	const u32 *value;

	switch (fid) {
	case NVME_FEAT_NUM_QUEUES:
		*result = nvl_queues_result(ctrl);
		return 0;
	case NVME_FEAT_POWER_MGMT:
		return 0;
	case NVME_FEAT_IRQ_CONFIG:
		return nvl_get_vector(ctrl, dw11, defaults, result);
	}
	value = nvl_feature_value(ctrl, &feat, fid, dw11);
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
	u32 dw11 = le32_to_cpu(cmd->common.cdw11);
	u32 select = dw10 >> 8 & 7;
	u16 status;

	if (select > NVL_SELECT_SUPPORTED)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	status = nvl_get_value(ctrl, dw10, dw11, select != NVL_SELECT_CURRENT, result);
	if (!status && select == NVL_SELECT_SUPPORTED)
		*result = NVL_FEAT_CHANGEABLE;
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
	u16 vector = dw11;

	if (vector >= ctrl->irqs.nr)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	__assign_bit(vector, ctrl->vector_config, dw11 & 1 << 16);
	return 0;
}

/* Reserved bits, and options that were not offered. */
static bool nvl_value_valid(u8 fid, u32 dw11)
{
	switch (fid) {
	case NVME_FEAT_ERR_RECOVERY:
		return !(dw11 >> 16);		/* DULBE: no such error is reported */
	case NVME_FEAT_ASYNC_EVENT:
		return !(dw11 & ~NVL_ASYNC_CONFIG);
	case NVME_FEAT_VOLATILE_WC:
	case NVME_FEAT_WRITE_ATOMIC:
		return dw11 <= 1;
	default:
		return true;
	}
}

static u16 nvl_set_value(struct nvl_ctrl *ctrl, u8 fid, u32 dw11)
{
	u32 *value = nvl_feature_value(ctrl, &ctrl->feat, fid, dw11);

	if (!value || !nvl_value_valid(fid, dw11))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	*value = fid == NVME_FEAT_TEMP_THRESH || fid == NVME_FEAT_IRQ_COALESCE ?
		 dw11 & 0xffff : dw11;
	return 0;
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
	u8 fid = dw10;

	if (dw10 & NVL_FEAT_SAVE)
		return NVME_SC_FEATURE_NOT_SAVEABLE | NVL_DNR;
	switch (fid) {
	case NVME_FEAT_NUM_QUEUES:
		return nvl_set_queues(ctrl, dw11, result);
	case NVME_FEAT_IRQ_CONFIG:
		return nvl_set_vector(ctrl, dw11);
	case NVME_FEAT_POWER_MGMT:
		/* one power state, number 0 */
		return dw11 & 0x1f ? NVME_SC_INVALID_FIELD | NVL_DNR : 0;
	default:
		return nvl_set_value(ctrl, fid, dw11);
	}
}

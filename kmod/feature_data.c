// SPDX-License-Identifier: GPL-2.0-or-later
/* Features whose value is in memory: Timestamp and Host Behavior Support. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/math64.h>

#include "compat.h"
#include "nvlab.h"

#define NVL_HOST_SIZE		512
#define NVL_TIMESTAMP_SIZE	8
#define NVL_TIMESTAMP_SET	BIT(1)	/* Timestamp Origin: by Set Features */

static u16 nvl_get_timestamp(struct nvl_ctrl *ctrl, const struct nvme_command *cmd,
			     bool defaults)
{
	u64 passed = div_u64(ktime_get_ns() - ctrl->feat.timestamp_at, NSEC_PER_MSEC);
	u64 value = (ctrl->feat.timestamp + passed) & GENMASK_ULL(47, 0);

	if (ctrl->feat.timestamp_at)
		value |= (u64)NVL_TIMESTAMP_SET << 48;
	else
		value = div_u64(ktime_get_ns() - ctrl->reset_at, NSEC_PER_MSEC);
	if (defaults)
		value = 0;
	put_unaligned_le64(value, ctrl->page);
	return nvl_admin_reply(ctrl, cmd, ctrl->page, NVL_TIMESTAMP_SIZE, NVL_TIMESTAMP_SIZE);
}

/**
 * nvl_get_feature_data() - Get Features whose value is in memory
 * @ctrl: the controller
 * @cmd: the command
 * @fid: NVME_FEAT_TIMESTAMP or NVME_FEAT_HOST_BEHAVIOR
 * @select: which value
 *
 * Return: status field.
 */
u16 nvl_get_feature_data(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u8 fid,
			 u32 select)
{
	u8 host = select == NVL_SELECT_CURRENT ? ctrl->feat.host : 0;

	if (select == NVL_SELECT_SUPPORTED)
		return 0;
	if (fid == NVME_FEAT_TIMESTAMP)
		return nvl_get_timestamp(ctrl, cmd, select != NVL_SELECT_CURRENT);
	return nvl_admin_reply(ctrl, cmd, &host, sizeof(host), NVL_HOST_SIZE);
}

static u16 nvl_set_timestamp(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u16 status = nvl_admin_take(ctrl, cmd, ctrl->page, NVL_TIMESTAMP_SIZE);

	if (status)
		return status;
	ctrl->feat.timestamp = get_unaligned_le64(ctrl->page) & GENMASK_ULL(47, 0);
	ctrl->feat.timestamp_at = ktime_get_ns();
	return 0;
}

static u16 nvl_set_host(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u8 *data = ctrl->page;
	u16 status = nvl_admin_take(ctrl, cmd, data, NVL_HOST_SIZE);

	/* ACRE is one bit; no retry delay is ever asked for */
	if (!status && data[0] > 1)
		status = NVME_SC_INVALID_FIELD | NVL_DNR;
	if (!status)
		ctrl->feat.host = data[0];
	return status;
}

/**
 * nvl_set_feature_data() - Set Features whose value is in memory
 * @ctrl: the controller
 * @cmd: the command
 * @fid: NVME_FEAT_TIMESTAMP or NVME_FEAT_HOST_BEHAVIOR
 *
 * Return: status field.
 */
u16 nvl_set_feature_data(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u8 fid)
{
	return fid == NVME_FEAT_TIMESTAMP ? nvl_set_timestamp(ctrl, cmd) :
					    nvl_set_host(ctrl, cmd);
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Log pages (NVMe 1.4, 5.14.1), and the keeping of the error log. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/math64.h>

#include "compat.h"
#include "nvlab.h"

/**
 * nvl_log_error() - note a command that failed
 * @ctrl: the controller
 * @qid: its submission queue
 * @cmd: the command
 * @status: status field
 */
void nvl_log_error(struct nvl_ctrl *ctrl, u16 qid, const struct nvme_command *cmd,
		   u16 status)
{
	struct nvl_error_log *log = &ctrl->errors;
	struct nvme_error_slot *slot;

	spin_lock(&log->lock);
	slot = &log->slots[log->count++ % NVL_ERROR_ENTRIES];
	memset(slot, 0, sizeof(*slot));
	slot->error_count = cpu_to_le64(log->count);
	slot->sqid = cpu_to_le16(qid);
	slot->cmdid = cpu_to_le16(cmd->common.command_id);
	slot->status_field = cpu_to_le16(status << 1);
	slot->param_error_location = cpu_to_le16(0xffff);
	slot->nsid = cmd->common.nsid;
	if (qid && cmd->common.opcode != nvme_cmd_dsm)
		slot->lba = cmd->rw.slba;
	spin_unlock(&log->lock);
}

/* The newest first. */
static u32 nvl_log_errors(struct nvl_ctrl *ctrl)
{
	struct nvme_error_slot *out = ctrl->page;
	struct nvl_error_log *log = &ctrl->errors;
	u32 i, nr;

	spin_lock(&log->lock);
	nr = min_t(u64, log->count, NVL_ERROR_ENTRIES);
	for (i = 0; i < nr; i++)
		out[i] = log->slots[(log->count - 1 - i) % NVL_ERROR_ENTRIES];
	spin_unlock(&log->lock);
	return sizeof(log->slots);
}

/* SMART counts in thousands of 512 bytes, rounded up. */
static void nvl_log_units(u8 field[16], u64 blocks, u8 block_shift)
{
	put_unaligned_le64(DIV_ROUND_UP_ULL(blocks << (block_shift - 9), 1000), field);
}

static u32 nvl_log_smart(struct nvl_ctrl *ctrl)
{
	struct nvme_smart_log *log = ctrl->page;
	struct nvc_counters c;

	spin_lock(&ctrl->core_lock);
	nvc_count(ctrl->core, &c);
	spin_unlock(&ctrl->core_lock);
	put_unaligned_le16(273 + 27, log->temperature);
	log->avail_spare = 100;
	log->spare_thresh = 10;
	nvl_log_units(log->data_units_read, c.blocks_read, ctrl->block_shift);
	nvl_log_units(log->data_units_written, c.blocks_written, ctrl->block_shift);
	put_unaligned_le64(c.reads, log->host_reads);
	put_unaligned_le64(c.writes, log->host_writes);
	put_unaligned_le64(1, log->power_cycles);
	put_unaligned_le64(div64_u64(ktime_get_ns() - ctrl->born, 3600 * NSEC_PER_SEC),
			   log->power_on_hours);
	put_unaligned_le64(ctrl->errors.count, log->num_err_log_entries);
	return sizeof(*log);
}

static u32 nvl_log_firmware(struct nvl_ctrl *ctrl)
{
	struct nvme_fw_slot_info_log *log = ctrl->page;

	log->afi = 1;
	memset(&log->frs[0], ' ', sizeof(log->frs[0]));
	memcpy(&log->frs[0], NVL_VERSION, min(sizeof(log->frs[0]), strlen(NVL_VERSION)));
	return sizeof(*log);
}

static u32 nvl_log_effects(struct nvl_ctrl *ctrl)
{
	static const u8 admin[] = {
		nvme_admin_delete_sq, nvme_admin_create_sq, nvme_admin_get_log_page,
		nvme_admin_delete_cq, nvme_admin_create_cq, nvme_admin_identify,
		nvme_admin_abort_cmd, nvme_admin_set_features,
		nvme_admin_get_features, nvme_admin_async_event,
	};
	static const u8 changes[] = {
		nvme_cmd_write, nvme_cmd_write_zeroes, nvme_cmd_dsm,
	};
	struct nvme_effects_log *log = ctrl->page;
	int i;

	for (i = 0; i < ARRAY_SIZE(admin); i++)
		log->acs[admin[i]] = cpu_to_le32(NVME_CMD_EFFECTS_CSUPP);
	log->iocs[nvme_cmd_read] = cpu_to_le32(NVME_CMD_EFFECTS_CSUPP);
	log->iocs[nvme_cmd_flush] = cpu_to_le32(NVME_CMD_EFFECTS_CSUPP);
	for (i = 0; i < ARRAY_SIZE(changes); i++)
		log->iocs[changes[i]] = cpu_to_le32(NVME_CMD_EFFECTS_CSUPP |
						    NVME_CMD_EFFECTS_LBCC);
	return sizeof(*log);
}

/* Bytes of the log in ctrl->page, or 0 if there is none such. */
static u32 nvl_log_fill(struct nvl_ctrl *ctrl, u8 lid)
{
	memset(ctrl->page, 0, PAGE_SIZE);
	switch (lid) {
	case NVME_LOG_ERROR:
		return nvl_log_errors(ctrl);
	case NVME_LOG_SMART:
		return nvl_log_smart(ctrl);
	case NVME_LOG_FW_SLOT:
		return nvl_log_firmware(ctrl);
	case NVME_LOG_CMD_EFFECTS:
		return nvl_log_effects(ctrl);
	default:
		return 0;
	}
}

/* Reading a log lets its events be sent again, unless the host says otherwise. */
static void nvl_log_unmask(struct nvl_ctrl *ctrl, u8 lid, bool retain)
{
	if (lid == NVME_LOG_ERROR && !retain)
		__clear_bit(NVL_EVENT_DOORBELL, &ctrl->masked);
}

/**
 * nvl_get_log() - Get Log Page
 * @ctrl: the controller
 * @cmd: the command
 *
 * What is asked for beyond the end of a log reads as zeros.
 *
 * Return: status field.
 */
u16 nvl_get_log(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	const struct nvme_get_log_page_command *c = &cmd->get_log_page;
	u64 offset = le64_to_cpu(c->lpo);
	u64 dwords = ((u32)le16_to_cpu(c->numdu) << 16 | le16_to_cpu(c->numdl)) + 1ULL;
	u32 nsid = le32_to_cpu(c->nsid);
	u32 size = nvl_log_fill(ctrl, c->lid);
	u16 status;

	if (!size)
		return NVME_SC_INVALID_LOG_PAGE | NVL_DNR;
	if (nsid && nsid != NVME_NSID_ALL)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (offset & 3 || offset > size || dwords * 4 > NVL_MAX_TRANSFER)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	status = nvl_admin_reply(ctrl, cmd, ctrl->page + offset, size - offset, dwords * 4);
	if (!status)
		nvl_log_unmask(ctrl, c->lid, c->lsp & 1 << 7);
	return status;
}

// SPDX-License-Identifier: GPL-2.0-or-later
/* Log pages (NVMe 1.4, 5.14.1), and the keeping of the error log. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/math64.h>

#include "compat.h"
#include "fdp.h"
#include "nvc_zns.h"
#include "nvlab.h"
#include "trace.h"

/* Vendor specific. */
#define NVL_LOG_SSD	0xc0
#define NVL_LOG_SSD_WORDS	64
/* Word of it, the last: write amplification, wherever the accounts before it end. */
#define NVL_LOG_SSD_WAF	(NVL_LOG_SSD_WORDS - 1)

/* The byte of the command that is wrong, if the status tells: bits 7:0. */
static u16 nvl_log_location(u16 status)
{
	switch (status & ~NVL_DNR) {
	case NVME_SC_INVALID_OPCODE:
		return offsetof(struct nvme_common_command, opcode);
	case NVME_SC_INVALID_NS:
		return offsetof(struct nvme_common_command, nsid);
	case NVME_SC_PRP_INVALID_OFFSET:
		return offsetof(struct nvme_common_command, dptr);
	case NVME_SC_LBA_RANGE:
	case NVME_SC_QID_INVALID:
	case NVME_SC_INVALID_LOG_PAGE:
		return offsetof(struct nvme_common_command, cdw10);
	default:
		return 0xffff;
	}
}

/* Those that meet bad blocks; they also are inside their namespace then. */
static bool nvl_log_reads(u8 opcode)
{
	return opcode == NVC_READ || opcode == NVC_COMPARE || opcode == NVC_VERIFY;
}

/* The first block that was in the way, or where the command began. */
static u64 nvl_log_lba(struct nvl_ctrl *ctrl, const struct nvl_sq *sq,
		       const struct nvme_command *cmd, u16 status)
{
	u64 lba = le64_to_cpu(cmd->rw.slba);

	if (!sq->qid || ctrl->set->kind == NVC_KV || cmd->common.opcode == nvme_cmd_dsm ||
	    cmd->common.opcode == NVC_COPY)
		return 0;
	if (status != NVC_SC_READ_ERROR || !nvl_log_reads(cmd->common.opcode))
		return lba;
	spin_lock(&ctrl->subsys->core_lock);
	lba += nvc_readable(ctrl->subsys->core, le32_to_cpu(cmd->rw.nsid), lba,
			    le16_to_cpu(cmd->rw.length) + 1);
	spin_unlock(&ctrl->subsys->core_lock);
	return lba;
}

/**
 * nvl_log_error() - note a command that failed
 * @ctrl: the controller
 * @sq: its submission queue
 * @cmd: the command
 * @status: status field
 */
void nvl_log_error(struct nvl_ctrl *ctrl, const struct nvl_sq *sq,
		   const struct nvme_command *cmd, u16 status)
{
	struct nvl_error_log *log = &ctrl->errors;
	u64 lba = nvl_log_lba(ctrl, sq, cmd, status);
	struct nvme_error_slot *slot;

	spin_lock(&log->lock);
	slot = &log->slots[log->count++ % NVL_ERROR_ENTRIES];
	memset(slot, 0, sizeof(*slot));
	slot->error_count = cpu_to_le64(log->count);
	slot->sqid = cpu_to_le16(sq->qid);
	slot->cmdid = cpu_to_le16(cmd->common.command_id);
	slot->status_field = cpu_to_le16(status << 1);
	slot->param_error_location = cpu_to_le16(nvl_log_location(status));
	slot->nsid = cmd->common.nsid;
	slot->lba = cpu_to_le64(lba);
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
static void nvl_log_units(u8 field[16], u64 bytes)
{
	put_unaligned_le64(DIV_ROUND_UP_ULL(bytes >> 9, 1000), field);
}

static void nvl_log_times(const struct nvl_subsys *subsys, u64 busy, struct nvme_smart_log *log)
{
	u64 on = subsys->life->on + ktime_get_ns() - subsys->born;

	put_unaligned_le64(div64_u64(busy, 60 * NSEC_PER_SEC), log->ctrl_busy_time);
	put_unaligned_le64(div64_u64(on, 3600 * NSEC_PER_SEC), log->power_on_hours);
	put_unaligned_le64(subsys->life->cycles, log->power_cycles);
	put_unaligned_le64(subsys->life->unsafe, log->unsafe_shutdowns);
}

static u32 nvl_log_smart(struct nvl_ctrl *ctrl)
{
	struct nvme_smart_log *log = ctrl->page;
	struct nvc_health health;
	struct nvc_counters c;

	spin_lock(&ctrl->subsys->core_lock);
	nvc_count(ctrl->subsys->core, &c);
	nvc_health(ctrl->subsys->core, &health);
	spin_unlock(&ctrl->subsys->core_lock);
	log->critical_warning = nvl_health_warns(ctrl, &health);
	put_unaligned_le16(READ_ONCE(ctrl->set->temperature), log->temperature);
	log->avail_spare = health.spare;
	log->spare_thresh = NVL_SPARE_THRESHOLD;
	log->percent_used = min(health.used, 255U);
	nvl_log_units(log->data_units_read, c.bytes_read);
	nvl_log_units(log->data_units_written, c.bytes_written);
	put_unaligned_le64(c.reads + c.compares + c.retrieves, log->host_reads);
	put_unaligned_le64(c.writes + c.appends + c.stores, log->host_writes);
	put_unaligned_le64(c.media_errors, log->media_errors);
	nvl_log_times(ctrl->subsys, c.busy, log);
	put_unaligned_le64(ctrl->errors.count, log->num_err_log_entries);
	return sizeof(*log);
}

static u32 nvl_log_firmware(struct nvl_ctrl *ctrl)
{
	struct nvme_fw_slot_info_log *log = ctrl->page;

	log->afi = 1;
	memset(&log->frs[0], ' ', sizeof(log->frs[0]));
	memcpy(&log->frs[0], ctrl->set->firmware,
	       min(sizeof(log->frs[0]), strlen(ctrl->set->firmware)));
	return sizeof(*log);
}

/* NSIDs in ascending order; more than the list has room for cannot be. */
static u32 nvl_log_changed(struct nvl_ctrl *ctrl)
{
	__le32 *list = ctrl->page;
	u32 nr = 0;
	u32 nsid;

	for_each_set_bit(nsid, ctrl->changed, NVC_MAX_NS + 1)
		list[nr++] = cpu_to_le32(nsid);
	return PAGE_SIZE;
}

/* A command, and what it changes. */
struct nvl_effect {
	u8 opcode;
	u32 effects;
};

#define NVL_SUPPORTED	NVME_CMD_EFFECTS_CSUPP
#define NVL_CHANGES_LBA	(NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_LBCC)
#define NVL_CHANGES_NS	(NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_NIC)
/* alone: no other command of any namespace meanwhile */
#define NVL_CHANGES_ALL	(NVL_CHANGES_LBA | NVME_CMD_EFFECTS_NCC | 2 << 16)

static const struct nvl_effect nvl_admin_effects[] = {
	{ nvme_admin_delete_sq, NVL_SUPPORTED },
	{ nvme_admin_create_sq, NVL_SUPPORTED },
	{ nvme_admin_get_log_page, NVL_SUPPORTED },
	{ nvme_admin_delete_cq, NVL_SUPPORTED },
	{ nvme_admin_create_cq, NVL_SUPPORTED },
	{ nvme_admin_identify, NVL_SUPPORTED },
	{ nvme_admin_abort_cmd, NVL_SUPPORTED },
	{ nvme_admin_set_features, NVL_SUPPORTED },
	{ nvme_admin_get_features, NVL_SUPPORTED },
	{ nvme_admin_async_event, NVL_SUPPORTED },
	{ nvme_admin_ns_mgmt, NVL_CHANGES_NS },
	{ nvme_admin_ns_attach, NVL_CHANGES_NS },
	{ nvme_admin_format_nvm, NVL_CHANGES_ALL },
};

static const struct nvl_effect nvl_io_effects[] = {
	{ NVC_FLUSH, NVL_SUPPORTED },
	{ NVC_WRITE, NVL_CHANGES_LBA },
	{ NVC_READ, NVL_SUPPORTED },
	{ NVC_WRITE_UNCOR, NVL_CHANGES_LBA },
	{ NVC_COMPARE, NVL_SUPPORTED },
	{ NVC_WRITE_ZEROES, NVL_CHANGES_LBA },
	{ NVC_DSM, NVL_CHANGES_LBA },
	{ NVC_VERIFY, NVL_SUPPORTED },
	{ NVC_COPY, NVL_CHANGES_LBA },
};

/* Beside those, of an SSD with reclaim unit handles. */
static const struct nvl_effect nvl_fdp_effects[] = {
	{ NVC_IO_SEND, NVL_SUPPORTED },
	{ NVC_IO_RECEIVE, NVL_SUPPORTED },
};

/* Beside those, in a zoned namespace. */
static const struct nvl_effect nvl_zone_effects[] = {
	{ NVC_ZONE_SEND, NVL_CHANGES_LBA },
	{ NVC_ZONE_RECEIVE, NVL_SUPPORTED },
	{ NVC_ZONE_APPEND, NVL_CHANGES_LBA },
};

/* All there are in a namespace with keys. Nothing is of blocks, but something changes. */
static const struct nvl_effect nvl_kv_effects[] = {
	{ NVC_FLUSH, NVL_SUPPORTED },
	{ NVC_KV_STORE, NVL_CHANGES_LBA },
	{ NVC_KV_RETRIEVE, NVL_SUPPORTED },
	{ NVC_KV_LIST, NVL_SUPPORTED },
	{ NVC_KV_DELETE, NVL_CHANGES_LBA },
	{ NVC_KV_EXIST, NVL_SUPPORTED },
};

static void nvl_effects(__le32 *to, const struct nvl_effect *from, int nr)
{
	for (; nr--; from++)
		to[from->opcode] = cpu_to_le32(from->effects);
}

static u32 nvl_log_effects(struct nvl_ctrl *ctrl, u8 csi)
{
	struct nvme_effects_log *log = ctrl->page;

	if (!nvl_has_set(ctrl, csi))
		return 0;
	nvl_effects(log->acs, nvl_admin_effects, ARRAY_SIZE(nvl_admin_effects));
	if (csi == NVL_CSI_KV)
		nvl_effects(log->iocs, nvl_kv_effects, ARRAY_SIZE(nvl_kv_effects));
	else if (ctrl->set->kind != NVC_KV)
		nvl_effects(log->iocs, nvl_io_effects, ARRAY_SIZE(nvl_io_effects));
	if (csi == NVME_CSI_ZNS)
		nvl_effects(log->iocs, nvl_zone_effects, ARRAY_SIZE(nvl_zone_effects));
	if (nvl_handles(ctrl)) {
		nvl_effects(log->iocs, nvl_fdp_effects, ARRAY_SIZE(nvl_fdp_effects));
		log->acs[NVL_DIRECTIVE_SEND] = cpu_to_le32(NVL_SUPPORTED);
		log->acs[NVL_DIRECTIVE_RECEIVE] = cpu_to_le32(NVL_SUPPORTED);
	}
	if (nvl_has_sets(ctrl->set)) {
		log->acs[nvme_admin_ns_mgmt] = 0;
		log->acs[nvme_admin_ns_attach] = 0;
	}
	return sizeof(*log);
}

/* Of the vendor: struct nvc_ssd_stats, and the write amplification it makes. */
static u32 nvl_log_ssd(struct nvl_ctrl *ctrl)
{
	struct nvc_ssd_stats stats;
	__le64 *log = ctrl->page;
	int i;

	BUILD_BUG_ON(sizeof(stats) > NVL_LOG_SSD_WAF * sizeof(*log));
	nvl_core_stats(ctrl->subsys, &stats);
	for (i = 0; i < sizeof(stats) / sizeof(u64); i++)
		log[i] = cpu_to_le64(((u64 *)&stats)[i]);
	log[NVL_LOG_SSD_WAF] = cpu_to_le64(nvl_waf(&stats));
	return NVL_LOG_SSD_WORDS * sizeof(*log);
}

/* The Changed Zone List: a count, and the zones by their first block. */
static u32 nvl_log_zones(struct nvl_ctrl *ctrl)
{
	__le64 *log = ctrl->page;
	u64 *starts = ctrl->page;
	u32 i, nr;

	if (ctrl->set->kind != NVC_ZNS)
		return 0;
	spin_lock(&ctrl->subsys->core_lock);
	nr = nvc_zone_changes(ctrl->subsys->core, starts + 1, false);
	spin_unlock(&ctrl->subsys->core_lock);
	for (i = 1; nr != NVC_ZONE_CHANGES_MANY && i <= nr; i++)
		log[i] = cpu_to_le64(starts[i]);
	log[0] = cpu_to_le64(nr);
	return PAGE_SIZE;
}

/*
 * What was told is forgotten. Unless more has changed since, or somebody copies what
 * the drive holds, of which the list is a part: then all is told again.
 */
static void nvl_log_zones_seen(struct nvl_ctrl *ctrl)
{
	u64 *starts = ctrl->page;
	u32 told = starts[0];

	if (nvl_subsys_paused(ctrl->subsys))
		return;
	spin_lock(&ctrl->subsys->core_lock);
	if (nvc_zone_changes(ctrl->subsys->core, starts + 1, false) == told)
		nvc_zone_changes(ctrl->subsys->core, starts + 1, true);
	spin_unlock(&ctrl->subsys->core_lock);
}

/* Bytes of the log in ctrl->page, or 0 if there is none such. */
static u32 nvl_log_fill(struct nvl_ctrl *ctrl, const struct nvme_get_log_page_command *c)
{
	memset(ctrl->page, 0, PAGE_SIZE);
	switch (c->lid) {
	case NVME_LOG_ERROR:
		return nvl_log_errors(ctrl);
	case NVME_LOG_SMART:
		return nvl_log_smart(ctrl);
	case NVME_LOG_FW_SLOT:
		return nvl_log_firmware(ctrl);
	case NVME_LOG_CHANGED_NS:
		return nvl_log_changed(ctrl);
	case NVME_LOG_CMD_EFFECTS:
		return nvl_log_effects(ctrl, c->csi);
	case NVL_LOG_ZONES:
		return nvl_log_zones(ctrl);
	case NVL_LOG_SSD:
		return nvl_has_flash(ctrl->set) ? nvl_log_ssd(ctrl) : 0;
	default:
		return nvl_fdp_log(ctrl, c);
	}
}

/* Reading a log lets its events be sent again, unless the host says otherwise. */
static void nvl_log_seen(struct nvl_ctrl *ctrl, u8 lid, bool retain)
{
	const __le32 *list = ctrl->page;

	if (retain)
		return;
	nvl_events_seen(ctrl, lid);
	if (lid == NVL_LOG_ZONES)
		nvl_log_zones_seen(ctrl);
	/* what changed since the page was filled is still to be told */
	for (; lid == NVME_LOG_CHANGED_NS && *list; list++)
		clear_bit(le32_to_cpu(*list), ctrl->changed);
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
	u32 size = nvl_log_fill(ctrl, c);
	u16 status;

	if (!size)
		return NVME_SC_INVALID_LOG_PAGE | NVL_DNR;
	if (c->lid == NVL_LOG_ZONES ? nsid != NVL_FIRST_NSID : nsid && nsid != NVME_NSID_ALL)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (offset & 3 || offset > size || dwords * 4 > nvl_max_transfer(ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	status = nvl_admin_reply(ctrl, cmd, ctrl->page + offset, size - offset, dwords * 4);
	if (!status)
		nvl_log_seen(ctrl, c->lid, c->lsp & 1 << 7);
	return status;
}

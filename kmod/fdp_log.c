// SPDX-License-Identifier: GPL-2.0-or-later
/* Logs of Flexible Data Placement (NVMe Base 2.1, 5.1.12.1.28 to 31). */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/math64.h>
#include <linux/slab.h>

#include "compat.h"
#include "fdp.h"
#include "nvc_fdp.h"
#include "trace.h"

/* Of configurations: valid, and beside a volatile write cache; 64 bytes, then handles. */
#define NVL_FDPA_VALID		BIT(7)
#define NVL_FDPA_VWC		BIT(4)
#define NVL_FDP_CONFIG_SIZE	64
/* Of usage: the controller has assigned the handle. */
#define NVL_RUHA_CONTROLLER	2
/* Of events: their identifier, namespace and handle are valid; of a move its block too. */
#define NVL_FDPEF_ALL		7
#define NVL_FDPEF_MOVED_LBA	1
/* Of the log of events: those of hosts. */
#define NVL_FDP_HOST_EVENTS	1

/* Log 20h, of one configuration */
struct nvl_fdp_configs {
	__le16 last;
	u8 version;
	u8 reserved;
	__le32 size;
	u8 reserved2[8];
	__le16 config_size;
	u8 attributes;
	u8 vendor_size;
	__le32 groups;
	__le16 handles;
	__le16 last_pid;
	__le32 namespaces;
	__le64 unit_size;
	__le32 time_limit;
	u8 reserved3[36];
	struct {
		u8 type;
		u8 reserved[3];
	} ruh[NVC_MAX_RUHS];
};

/* Log 21h */
struct nvl_ruh_usage {
	__le16 handles;
	u8 reserved[6];
	struct {
		u8 attributes;
		u8 reserved[7];
	} ruh[NVC_MAX_RUHS];
};

/* Log 23h: 64 bytes, then these */
struct nvl_fdp_event {
	u8 type;
	u8 flags;
	__le16 pid;
	u8 time[8];
	__le32 nsid;
	u8 move_flags;
	u8 reserved;
	__le16 blocks;
	u8 lba[8];
	u8 reserved2[4];
	__le16 group;
	u8 ruh;
	u8 reserved3[29];
} __packed;

static u32 nvl_log_configs(struct nvl_ctrl *ctrl)
{
	struct nvl_fdp_configs *log = ctrl->page;
	u32 nr = nvl_handles(ctrl);
	struct nvc_ssd_stats stats;
	u32 i;

	nvl_core_stats(ctrl->subsys, &stats);
	log->size = cpu_to_le32(offsetof(struct nvl_fdp_configs, ruh[nr]));
	log->config_size = cpu_to_le16(NVL_FDP_CONFIG_SIZE + nr * sizeof(log->ruh[0]));
	log->attributes = NVL_FDPA_VALID | (ctrl->set->vwc ? NVL_FDPA_VWC : 0);
	log->groups = cpu_to_le32(1);
	log->handles = cpu_to_le16(nr);
	log->last_pid = cpu_to_le16(nr - 1);
	log->namespaces = cpu_to_le32(NVC_MAX_NS);
	log->unit_size = cpu_to_le64(stats.line_units * SZ_4K);
	for (i = 0; i < nr; i++)
		log->ruh[i].type = 1 + ctrl->set->medium.fdp_persistent;
	return sizeof(*log);
}

static u32 nvl_log_usage(struct nvl_ctrl *ctrl)
{
	struct nvl_ruh_usage *log = ctrl->page;
	u32 nr = nvl_handles(ctrl);
	u32 i;

	log->handles = cpu_to_le16(nr);
	for (i = 0; i < nr; i++)
		log->ruh[i].attributes = NVL_RUHA_CONTROLLER;
	return sizeof(*log);
}

/* Three numbers of 16 bytes. */
static u32 nvl_log_statistics(struct nvl_ctrl *ctrl)
{
	struct nvc_fdp_stats stats;
	__le64 *log = ctrl->page;

	spin_lock(&ctrl->subsys->core_lock);
	nvc_fdp_stats(ctrl->subsys->core, &stats);
	spin_unlock(&ctrl->subsys->core_lock);
	log[0] = cpu_to_le64(stats.host_bytes);
	log[2] = cpu_to_le64(stats.media_bytes);
	log[4] = cpu_to_le64(stats.erased_bytes);
	return 64;
}

/* As Timestamp has it: what a host set it to, and the time since, or that since the reset. */
static u64 nvl_fdp_time(const struct nvl_ctrl *ctrl, u64 time)
{
	u64 from = ctrl->feat.timestamp_at ?: ctrl->reset_at;
	u64 passed = div_u64(time > from ? time - from : 0, NSEC_PER_MSEC);
	u64 set = ctrl->feat.timestamp_at ? 1ULL << 49 : 0;

	return ((ctrl->feat.timestamp + passed) & GENMASK_ULL(47, 0)) | set;
}

static void nvl_log_event(const struct nvl_ctrl *ctrl, const struct nvc_fdp_event *event,
			  struct nvl_fdp_event *to)
{
	to->type = event->type;
	to->flags = NVL_FDPEF_ALL;
	to->pid = cpu_to_le16(event->pid);
	put_unaligned_le64(nvl_fdp_time(ctrl, event->time), to->time);
	to->nsid = cpu_to_le32(event->nsid);
	to->ruh = event->ruh;
	if (event->type != NVC_FDP_MOVED)
		return;
	to->move_flags = NVL_FDPEF_MOVED_LBA;
	to->blocks = cpu_to_le16(min(event->blocks, 0xffffU));
	put_unaligned_le64(event->lba, to->lba);
}

static u32 nvl_log_happened(struct nvl_ctrl *ctrl, bool controller)
{
	struct nvl_fdp_event *to = ctrl->page + 64;
	struct nvc_fdp_event *events;
	u32 i, nr;

	BUILD_BUG_ON(sizeof(*to) != 64);
	events = kcalloc(NVC_FDP_EVENTS, sizeof(*events), GFP_KERNEL);
	if (!events)
		return 0;
	spin_lock(&ctrl->subsys->core_lock);
	nr = nvc_fdp_events(ctrl->subsys->core, controller, events);
	spin_unlock(&ctrl->subsys->core_lock);
	*(__le32 *)ctrl->page = cpu_to_le32(nr);
	for (i = 0; i < nr; i++)
		nvl_log_event(ctrl, &events[i], &to[i]);
	kfree(events);
	return PAGE_SIZE;
}

/**
 * nvl_fdp_log() - fill a log page of placement
 * @ctrl: the controller
 * @c: the command
 *
 * Return: bytes in ctrl->page, or 0 if there is no such log.
 */
u32 nvl_fdp_log(struct nvl_ctrl *ctrl, const struct nvme_get_log_page_command *c)
{
	if (!nvl_handles(ctrl) || nvl_log_group(c) != NVL_ENDGID)
		return 0;
	switch (c->lid) {
	case NVL_LOG_FDP_CONFIGS:
		return nvl_log_configs(ctrl);
	case NVL_LOG_FDP_USAGE:
		return nvl_log_usage(ctrl);
	case NVL_LOG_FDP_STATS:
		return nvl_log_statistics(ctrl);
	case NVL_LOG_FDP_EVENTS:
		return nvl_log_happened(ctrl, !(c->lsp & NVL_FDP_HOST_EVENTS));
	default:
		return 0;
	}
}

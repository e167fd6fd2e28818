// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Flexible Data Placement (NVMe TP4146; Base 2.1, 8.1.10): its commands, features
 * and directives. There is one endurance group with one configuration, which is
 * enabled for as long as the device has handles. What handles do the core knows.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "fdp.h"
#include "io.h"
#include "nvc_fdp.h"
#include "trace.h"

/* I/O Management Receive */
struct nvl_ruh_status {
	u8 reserved[14];
	__le16 nr;
	struct {
		__le16 pid;
		__le16 ruh;
		__le32 time_left;
		__le64 blocks_left;
		u8 reserved[16];
	} ruh[NVC_MAX_RUHS];
};

/* An event as the feature has it, and as the core has it. */
static const struct {
	u8 type;
	u32 tell;
} nvl_fdp_types[] = {
	{ NVC_FDP_NOT_FULL, NVC_TELL_NOT_FULL },
	{ NVC_FDP_BAD_PID, NVC_TELL_BAD_PID },
	{ NVC_FDP_MOVED, NVC_TELL_MOVED },
};

/**
 * nvl_fdp_directive() - read the directive of a Write or Copy
 * @io: the command
 *
 * Where there are no handles there are no directives, and nobody looks at them.
 *
 * Return: status field.
 */
u16 nvl_fdp_directive(struct nvl_io *io)
{
	u16 type = le16_to_cpu(io->cmd->rw.control) >> 4 & 0xf;

	if (likely(!type) || !nvl_handles(io->w->ctrl))
		return 0;
	if (type != NVC_DIRECTIVE_PLACEMENT)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	io->core.action = type;
	io->core.key = le32_to_cpu(io->cmd->rw.dsmgmt) >> 16;
	return 0;
}

static u16 nvl_fdp_update(struct nvl_io *io, u32 nr)
{
	struct nvl_worker *w = io->w;
	const __le16 *list = w->list;
	u16 status;
	u32 i;

	if (nr > NVC_MAX_RANGES)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	status = nvl_io_list(io, nr, sizeof(*list));
	for (i = 0; !status && i < nr; i++)
		w->ranges[i] = (struct nvc_range){ .slba = le16_to_cpu(list[i]) };
	return status;
}

/**
 * nvl_fdp_parse() - read I/O Management Send or Receive
 * @io: the command
 *
 * Return: status field.
 */
u16 nvl_fdp_parse(struct nvl_io *io)
{
	u32 cdw10 = le32_to_cpu(io->cmd->common.cdw10);
	u64 bytes = (le32_to_cpu(io->cmd->common.cdw11) + 1ULL) * sizeof(u32);

	io->core.slba = 0;
	io->core.nlb = 0;
	io->core.action = cdw10;
	if (!nvl_handles(io->w->ctrl) || !io->core.action)
		return 0; /* the core knows */
	if (io->core.opcode == NVC_IO_SEND)
		return nvl_fdp_update(io, (cdw10 >> 16) + 1);
	if (bytes > nvl_max_transfer(io->w->ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	return nvl_io_map(io, bytes);
}

/**
 * nvl_fdp_report() - note what a host asked for, before others enter the core
 * @io: I/O Management Receive, the core still locked
 */
void nvl_fdp_report(struct nvl_io *io)
{
	const struct nvc *core = io->w->ctrl->subsys->core;
	struct nvl_ruh_status *status = io->w->list;
	u32 nr = nvl_handles(io->w->ctrl);
	struct nvc_ruh ruh;
	u32 i;

	memset(status, 0, sizeof(*status));
	status->nr = cpu_to_le16(nr);
	for (i = 0; i < nr; i++) {
		nvc_ruh(core, i, &ruh);
		status->ruh[i].pid = cpu_to_le16(i);
		status->ruh[i].ruh = cpu_to_le16(i);
		status->ruh[i].blocks_left = cpu_to_le64(ruh.room_units << (12 - io->shift));
	}
	io->report = status;
	io->filled = offsetof(struct nvl_ruh_status, ruh[nr]);
}

/**
 * nvl_fdp_get() - Get Features: Flexible Data Placement
 * @ctrl: the controller
 * @group: endurance group
 * @result: double word 0: enabled, with configuration 0
 *
 * Return: status field.
 */
u16 nvl_fdp_get(const struct nvl_ctrl *ctrl, u16 group, u32 *result)
{
	if (!nvl_handles(ctrl) || group != NVL_ENDGID)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	*result = 1;
	return 0;
}

/**
 * nvl_fdp_set() - Set Features: Flexible Data Placement
 * @ctrl: the controller
 * @cmd: the command
 *
 * There always are namespaces, or were: it stays as it is.
 *
 * Return: status field.
 */
u16 nvl_fdp_set(const struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u32 enabled;
	u16 status = nvl_fdp_get(ctrl, le32_to_cpu(cmd->common.cdw11), &enabled);

	if (status || le32_to_cpu(cmd->common.cdw12) == enabled)
		return status;
	return NVME_SC_CMD_SEQ_ERROR | NVL_DNR;
}

/* What is told of a placement handle, if there is one. */
static u16 nvl_fdp_told(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *tell)
{
	u16 status = nvl_ns_status(ctrl, le32_to_cpu(cmd->common.nsid));
	u32 cdw11 = le32_to_cpu(cmd->common.cdw11);
	struct nvc_ruh ruh;

	if (status)
		return status;
	if ((cdw11 & 0xffff) >= nvl_handles(ctrl) || !(cdw11 >> 16 & 0xff))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	spin_lock(&ctrl->subsys->core_lock);
	nvc_ruh(ctrl->subsys->core, cdw11 & 0xffff, &ruh);
	spin_unlock(&ctrl->subsys->core_lock);
	*tell = ruh.tell;
	return 0;
}

/**
 * nvl_fdp_get_events() - Get Features: FDP Events
 * @ctrl: the controller
 * @cmd: the command
 * @result: double word 0: events that there are
 *
 * Return: status field.
 */
u16 nvl_fdp_get_events(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *result)
{
	u32 wanted = le32_to_cpu(cmd->common.cdw11) >> 16 & 0xff;
	u8 *pair = ctrl->page;
	u16 status;
	u32 tell;
	u32 i;

	status = nvl_fdp_told(ctrl, cmd, &tell);
	if (status)
		return status;
	memset(ctrl->page, 0, PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(nvl_fdp_types); i++) {
		*pair++ = nvl_fdp_types[i].type;
		*pair++ = !!(tell & nvl_fdp_types[i].tell);
	}
	*result = ARRAY_SIZE(nvl_fdp_types);
	return nvl_admin_reply(ctrl, cmd, ctrl->page, 2 * wanted, 2 * wanted);
}

/* Bits of the core for a type; 0 if it is never told. */
static u32 nvl_fdp_bit(u8 type)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(nvl_fdp_types); i++)
		if (nvl_fdp_types[i].type == type)
			return nvl_fdp_types[i].tell;
	return 0;
}

/**
 * nvl_fdp_set_events() - Set Features: FDP Events
 * @ctrl: the controller
 * @cmd: the command
 *
 * Return: status field.
 */
u16 nvl_fdp_set_events(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	struct nvc_ns_change change = {
		.op = NVC_NS_EVENTS, .nsid = le32_to_cpu(cmd->common.nsid),
		.blocks = le32_to_cpu(cmd->common.cdw11) & 0xffff,
	};
	u32 nr = le32_to_cpu(cmd->common.cdw11) >> 16 & 0xff;
	bool enable = le32_to_cpu(cmd->common.cdw12) & 1;
	u8 *types = ctrl->page;
	u16 status;
	u32 i;

	status = nvl_fdp_told(ctrl, cmd, &change.value) ?: nvl_admin_take(ctrl, cmd, types, nr);
	if (status)
		return status;
	for (i = 0; i < nr; i++) {
		u32 bit = nvl_fdp_bit(types[i]);

		if (!bit)
			return NVME_SC_INVALID_FIELD | NVL_DNR;
		change.value = enable ? change.value | bit : change.value & ~bit;
	}
	return nvl_core_ns(ctrl->subsys, &change) ? NVME_SC_INTERNAL | NVL_DNR : 0;
}

/**
 * nvl_directive_receive() - Directive Receive: which there are
 * @ctrl: the controller
 * @cmd: the command: Return Parameters of the Identify directive is all there is
 *
 * Return: status field.
 */
u16 nvl_directive_receive(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u64 bytes = (le32_to_cpu(cmd->common.cdw10) + 1ULL) * sizeof(u32);
	u32 what = le32_to_cpu(cmd->common.cdw11) & 0xffff; /* type, then operation */
	u8 *directives = ctrl->page;

	if (!nvl_handles(ctrl))
		return NVME_SC_INVALID_OPCODE | NVL_DNR;
	if (what != 1 || bytes > nvl_max_transfer(ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	memset(directives, 0, PAGE_SIZE);
	/* identify and data placement: there, enabled, and kept over a reset */
	directives[0] = 1 | 1 << NVC_DIRECTIVE_PLACEMENT;
	directives[32] = directives[0];
	directives[64] = 1 << NVC_DIRECTIVE_PLACEMENT;
	return nvl_admin_reply(ctrl, cmd, directives, PAGE_SIZE, bytes);
}

/**
 * nvl_directive_send() - Directive Send
 * @ctrl: the controller
 * @cmd: the command: there is nothing that could be enabled or disabled
 *
 * Return: status field.
 */
u16 nvl_directive_send(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	return (nvl_handles(ctrl) ? NVME_SC_INVALID_FIELD : NVME_SC_INVALID_OPCODE) | NVL_DNR;
}

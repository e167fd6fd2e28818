// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Commands of zoned namespaces (Zoned Namespace command set 1.1). What they do
 * the core knows; here are their fields, and the data that are not blocks:
 * reports and descriptor extensions, which enter and leave the core under its
 * lock, by way of a buffer of the worker.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "io.h"
#include "nvc_zns.h"

/* Double word 13: of Send Select All and Allocate ZRWA, of Receive Partial Report. */
#define NVL_ZONE_ALL		BIT(8)
#define NVL_ZONE_ZRWA		BIT(9)
#define NVL_ZONE_PARTIAL	BIT(16)

/**
 * nvl_zone_report_size() - room for what is told of zones
 * @ctrl: a controller of a device with zones
 *
 * Return: bytes: as much as the longest report takes, or the longest transfer if that
 * is less, and a descriptor extension.
 */
u32 nvl_zone_report_size(const struct nvl_ctrl *ctrl)
{
	struct nvc_zoned zoned;
	u64 all;

	nvc_zoned(ctrl->subsys->core, NVL_FIRST_NSID, &zoned);
	all = (zoned.zones + 1ULL) * (NVC_ZONE_DESCRIPTOR + zoned.extension);
	return min_t(u64, all, max(nvl_max_transfer(ctrl), zoned.extension));
}

static u16 nvl_zone_receive(struct nvl_io *io, u32 cdw13)
{
	u64 bytes = (le32_to_cpu(io->cmd->common.cdw12) + 1ULL) * sizeof(u32);

	io->core.option = cdw13 >> 8;
	io->core.flags = cdw13 & NVL_ZONE_PARTIAL ? NVC_PARTIAL : 0;
	if (bytes > nvl_max_transfer(io->w->ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	return nvl_io_map(io, bytes);
}

static u16 nvl_zone_send(struct nvl_io *io, u32 cdw13)
{
	struct nvc_zoned zoned;
	u16 status;

	io->core.flags = (cdw13 & NVL_ZONE_ALL ? NVC_ALL_ZONES : 0) |
			 (cdw13 & NVL_ZONE_ZRWA ? NVC_ZRWA : 0);
	if (io->core.action != NVC_ZONE_SET_EXTENSION)
		return 0;
	nvc_zoned(io->w->ctrl->subsys->core, io->core.nsid, &zoned);
	if (!zoned.extension)
		return 0; /* the core will refuse it */
	status = nvl_io_map(io, zoned.extension);
	if (!status)
		nvl_gather(io->w->segments, io->w->report, io->bytes);
	return status;
}

/**
 * nvl_zone_parse() - read a command for a zoned namespace
 * @io: the command; of Zone Management the fields it has in common with Read are set
 *
 * Return: status field. To a host that enabled the NVM command set alone the
 * namespace is inactive.
 */
u16 nvl_zone_parse(struct nvl_io *io)
{
	u32 cdw13 = le32_to_cpu(io->cmd->common.cdw13);

	if (!nvl_ctrl_sets(io->w->ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (io->core.opcode != NVC_ZONE_SEND && io->core.opcode != NVC_ZONE_RECEIVE)
		return nvl_io_parse_data(io);
	io->core.nlb = 0;
	io->core.action = cdw13;
	return io->core.opcode == NVC_ZONE_SEND ? nvl_zone_send(io, cdw13) :
						  nvl_zone_receive(io, cdw13);
}

/**
 * nvl_zone_tell() - have hosts learn that the controller changed zones, if it did
 * @subsys: the subsystem, its core locked
 */
void nvl_zone_tell(struct nvl_subsys *subsys)
{
	u64 changes = nvc_zone_changed(subsys->core);
	unsigned int i;

	if (likely(changes == subsys->zone_changes))
		return;
	subsys->zone_changes = changes;
	for (i = 0; i < subsys->nr_ctrls; i++)
		if (subsys->ctrls[i])
			nvl_event(subsys->ctrls[i], NVL_EVENT_ZONES);
}

/**
 * nvl_zone_decided() - what must be done of a command before others enter the core
 * @io: the command, of a zoned namespace, the core still locked
 * @d: what the core said
 */
void nvl_zone_decided(struct nvl_io *io, const struct nvc_decision *d)
{
	struct nvl_subsys *subsys = io->w->ctrl->subsys;

	if (io->core.opcode == NVC_ZONE_APPEND)
		io->to = d->result;
	io->report = io->w->report;
	if (d->data == NVC_DATA_REPORT)
		io->filled = nvc_zone_report(subsys->core, &io->core, io->w->report,
					     min(io->bytes, io->w->report_size));
	else if (d->data == NVC_DATA_EXTENSION)
		nvc_zone_extend(subsys->core, &io->core, io->w->report);
	nvl_zone_tell(subsys);
}

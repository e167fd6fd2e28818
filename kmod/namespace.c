// SPDX-License-Identifier: GPL-2.0-or-later
/* Namespace Management, Namespace Attachment, Format NVM (NVMe 1.4, 5.20, 5.19, 5.23). */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/log2.h>

#include "nvlab.h"
#include "trace.h"

/* Select fields. */
enum {
	NVL_NS_SEL_CREATE	= 0,
	NVL_NS_SEL_DELETE	= 1,
	NVL_NS_SEL_ATTACH	= 0,
	NVL_NS_SEL_DETACH	= 1,
};

/* Double word 10 of Format NVM. */
#define NVL_FORMAT_LBAF		0xf
#define NVL_FORMAT_PI		0x1e0
#define NVL_FORMAT_SES(cdw10)	((cdw10) >> 9 & 7)

/* A controller list: a count, then identifiers in ascending order. */
#define NVL_LIST_MAX		2047

/**
 * nvl_freeze() - have no command in hand
 * @subsys: the subsystem, its admin lock held
 *
 * A worker holds its lock while it has a command in hand: with all of them
 * held, nobody copies to or from blocks that may soon be another namespace's.
 */
void nvl_freeze(struct nvl_subsys *subsys)
{
	unsigned int i, j;

	for (i = 0; i < subsys->nr_ctrls; i++)
		for (j = 0; j < subsys->ctrls[i]->nr_workers; j++)
			mutex_lock_nest_lock(&subsys->ctrls[i]->workers[j].lock,
					     &subsys->admin_lock);
}

/**
 * nvl_thaw() - undo nvl_freeze()
 * @subsys: the subsystem
 */
void nvl_thaw(struct nvl_subsys *subsys)
{
	unsigned int i, j;

	for (i = subsys->nr_ctrls; i--; )
		for (j = subsys->ctrls[i]->nr_workers; j--; )
			mutex_unlock(&subsys->ctrls[i]->workers[j].lock);
}

static int nvl_ns_change(struct nvl_subsys *subsys, const struct nvc_ns_change *change)
{
	int err;

	lockdep_assert_held(&subsys->admin_lock);
	nvl_freeze(subsys);
	err = nvl_core_ns(subsys, change);
	nvl_thaw(subsys);
	return err;
}

/**
 * nvl_ns_changed() - tell hosts that a namespace came, went or changed
 * @subsys: the subsystem
 * @nsid: the namespace
 * @ctrls: the controllers for which it did, as bits
 */
void nvl_ns_changed(struct nvl_subsys *subsys, u32 nsid, u32 ctrls)
{
	unsigned int i;

	for (i = 0; i < subsys->nr_ctrls; i++) {
		if (!(ctrls >> i & 1))
			continue;
		set_bit(nsid, subsys->ctrls[i]->changed);
		nvl_event(subsys->ctrls[i], NVL_EVENT_NAMESPACE);
	}
}

/* What the host wants of a new namespace, as a change. */
static u16 nvl_ns_wanted(const struct nvme_id_ns *id, struct nvc_ns_change *change)
{
	u8 format = id->flbas & NVME_NS_FLBAS_LBA_MASK;

	if (id->nsze != id->ncap)
		return NVME_SC_THIN_PROV_NOT_SUPP | NVL_DNR;
	if (!id->nsze || id->nmic > 1)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (format > 1 || id->dps)
		return NVME_SC_INVALID_FORMAT | NVL_DNR;
	change->blocks = le64_to_cpu(id->nsze);
	change->block_shift = format ? ilog2(SZ_4K) : ilog2(SZ_512);
	return 0;
}

static u32 nvl_ns_unused(const struct nvl_ctrl *ctrl)
{
	u32 nsid;

	for (nsid = 1; nsid <= NVC_MAX_NS; nsid++)
		if (!nvc_ns_get(ctrl->subsys->core, nsid))
			return nsid;
	return 0;
}

static u16 nvl_ns_create(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *result)
{
	struct nvc_ns_change change = { .op = NVC_NS_CREATE };
	struct nvme_id_ns *id = ctrl->page;
	u16 status;

	/* CSI: there is one command set */
	if (cmd->common.nsid || le32_to_cpu(cmd->common.cdw11) >> 24)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	status = nvl_admin_take(ctrl, cmd, id, sizeof(*id)) ?: nvl_ns_wanted(id, &change);
	if (status)
		return status;
	change.nsid = nvl_ns_unused(ctrl);
	if (!change.nsid)
		return NVME_SC_NS_ID_UNAVAILABLE | NVL_DNR;
	if (nvl_ns_change(ctrl->subsys, &change))
		return NVME_SC_NS_INSUFFICIENT_CAP | NVL_DNR;
	ctrl->subsys->ns[change.nsid].shared = id->nmic & 1;
	ctrl->subsys->ns[change.nsid].recovery = 0;
	*result = change.nsid;
	return 0;
}

static void nvl_ns_delete_one(struct nvl_subsys *subsys, u32 nsid)
{
	struct nvc_ns_change change = { .op = NVC_NS_DELETE, .nsid = nsid };
	u32 attached = nvc_ns_get(subsys->core, nsid)->attached;

	nvl_ns_change(subsys, &change);
	subsys->ns[nsid].made++;
	nvl_ns_changed(subsys, nsid, attached);
}

static u16 nvl_ns_delete(struct nvl_ctrl *ctrl, u32 nsid)
{
	u32 first = nsid == NVME_NSID_ALL ? 1 : nsid;
	u32 last = nsid == NVME_NSID_ALL ? NVC_MAX_NS : nsid;

	if (!first || first > NVC_MAX_NS)
		return NVME_SC_INVALID_NS | NVL_DNR;
	if (first == last && !nvc_ns_get(ctrl->subsys->core, nsid))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	for (nsid = first; nsid <= last; nsid++)
		if (nvc_ns_get(ctrl->subsys->core, nsid))
			nvl_ns_delete_one(ctrl->subsys, nsid);
	return 0;
}

/**
 * nvl_ns_management() - Namespace Management
 * @ctrl: the controller
 * @cmd: the command
 * @result: double word 0: the NSID of a new namespace
 *
 * Return: status field.
 */
u16 nvl_ns_management(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *result)
{
	if (nvl_has_sets(ctrl->set))
		return NVME_SC_INVALID_OPCODE | NVL_DNR;	/* its namespaces are fixed */
	switch (le32_to_cpu(cmd->common.cdw10) & 0xf) {
	case NVL_NS_SEL_CREATE:
		return nvl_ns_create(ctrl, cmd, result);
	case NVL_NS_SEL_DELETE:
		return nvl_ns_delete(ctrl, le32_to_cpu(cmd->common.nsid));
	default:
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	}
}

/* Which controllers the host names, as bits. */
static u16 nvl_ns_list(struct nvl_ctrl *ctrl, const struct nvme_command *cmd, u32 *bits)
{
	const __le16 *list = ctrl->page;
	u16 count, i;
	u16 status;

	status = nvl_admin_take(ctrl, cmd, ctrl->page, PAGE_SIZE);
	if (status)
		return status;
	count = le16_to_cpu(list[0]);
	if (!count || count > NVL_LIST_MAX)
		return NVME_SC_CTRL_LIST_INVALID | NVL_DNR;
	*bits = 0;
	for (i = 1; i <= count; i++) {
		u16 id = le16_to_cpu(list[i]);

		/* each once */
		if (!id || id > ctrl->subsys->nr_ctrls || *bits >> (id - 1) & 1)
			return NVME_SC_CTRL_LIST_INVALID | NVL_DNR;
		*bits |= 1U << (id - 1);
	}
	return 0;
}

static u16 nvl_ns_attach(struct nvl_subsys *subsys, u32 nsid, u32 bits, bool attach)
{
	struct nvc_ns_change change = { .op = NVC_NS_ATTACH, .nsid = nsid };
	u32 attached = nvc_ns_get(subsys->core, nsid)->attached;

	change.value = attach ? attached | bits : attached & ~bits;
	if (attach && attached & bits)
		return NVME_SC_NS_ALREADY_ATTACHED | NVL_DNR;
	if (!attach && (attached & bits) != bits)
		return NVME_SC_NS_NOT_ATTACHED | NVL_DNR;
	if (!subsys->ns[nsid].shared && hweight32(change.value) > 1)
		return NVME_SC_NS_IS_PRIVATE | NVL_DNR;
	nvl_ns_change(subsys, &change);
	nvl_ns_changed(subsys, nsid, bits);
	return 0;
}

/**
 * nvl_ns_attachment() - Namespace Attachment
 * @ctrl: the controller
 * @cmd: the command
 *
 * Return: status field.
 */
u16 nvl_ns_attachment(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u32 select = le32_to_cpu(cmd->common.cdw10) & 0xf;
	u32 nsid = le32_to_cpu(cmd->common.nsid);
	u16 status;
	u32 bits;

	if (nvl_has_sets(ctrl->set))
		return NVME_SC_INVALID_OPCODE | NVL_DNR;
	if (select != NVL_NS_SEL_ATTACH && select != NVL_NS_SEL_DETACH)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (!nsid || nsid > NVC_MAX_NS)
		return NVME_SC_INVALID_NS | NVL_DNR;
	if (!nvc_ns_get(ctrl->subsys->core, nsid))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	status = nvl_ns_list(ctrl, cmd, &bits);
	return status ?: nvl_ns_attach(ctrl->subsys, nsid, bits, select == NVL_NS_SEL_ATTACH);
}

static u16 nvl_format_one(struct nvl_subsys *subsys, u32 nsid, u32 block_shift)
{
	struct nvc_ns_change change = {
		.op = NVC_NS_FORMAT, .nsid = nsid, .block_shift = block_shift,
	};
	const struct nvc_ns *ns = nvc_ns_get(subsys->core, nsid);

	if (ns->flags & NVC_NS_PROTECTED)
		return NVME_SC_NS_WRITE_PROTECTED | NVL_DNR;
	if (nvl_ns_change(subsys, &change))
		return NVME_SC_INVALID_FORMAT | NVL_DNR;
	nvl_ns_changed(subsys, nsid, ns->attached);
	return 0;
}

static u16 nvl_format_all(struct nvl_ctrl *ctrl, u32 block_shift)
{
	u16 status = 0;
	u32 nsid;

	for (nsid = 1; nsid <= NVC_MAX_NS && !status; nsid++)
		if (!nvl_ns_status(ctrl, nsid))
			status = nvl_format_one(ctrl->subsys, nsid, block_shift);
	return status;
}

/**
 * nvl_format() - Format NVM
 * @ctrl: the controller
 * @cmd: the command
 *
 * The data are gone with any setting of Secure Erase.
 *
 * Return: status field.
 */
u16 nvl_format(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u32 cdw10 = le32_to_cpu(cmd->format.cdw10);
	u32 nsid = le32_to_cpu(cmd->format.nsid);
	u32 format = cdw10 & NVL_FORMAT_LBAF;
	bool keys = ctrl->set->kind == NVC_KV;
	u32 shift = format ? ilog2(SZ_4K) : ilog2(SZ_512);

	/* of keys there is one format, and blocks mean nothing */
	if (keys)
		shift = ilog2(ctrl->set->block_size);
	if (format > !keys || cdw10 & NVL_FORMAT_PI)
		return NVME_SC_INVALID_FORMAT | NVL_DNR;
	/* no cryptographic erase */
	if (NVL_FORMAT_SES(cdw10) > 1)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (nsid == NVME_NSID_ALL)
		return nvl_format_all(ctrl, shift);
	return nvl_ns_status(ctrl, nsid) ?: nvl_format_one(ctrl->subsys, nsid, shift);
}

/**
 * nvl_ns_switch() - set the switches of a namespace
 * @subsys: the subsystem
 * @nsid: the namespace, which exists
 * @flags: enum nvc_ns_flags
 *
 * Return: status field.
 */
u16 nvl_ns_switch(struct nvl_subsys *subsys, u32 nsid, u32 flags)
{
	struct nvc_ns_change change = { .op = NVC_NS_SWITCH, .nsid = nsid, .value = flags };

	return nvl_ns_change(subsys, &change) ? NVME_SC_INTERNAL | NVL_DNR : 0;
}

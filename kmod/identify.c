// SPDX-License-Identifier: GPL-2.0-or-later
/* Identify (NVMe 1.4, 5.15). */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/string.h>

#include "compat.h"
#include "nvlab.h"

static void nvl_pad(char *field, size_t len, const char *text)
{
	memset(field, ' ', len);
	memcpy(field, text, min(len, strlen(text)));
}

static void nvl_fill_limits(const struct nvl_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	id->mdts = NVL_MDTS;
	id->acl = 3;
	id->aerl = NVL_MAX_AERS - 1;
	id->elpe = NVL_ERROR_ENTRIES - 1;
	id->sqes = NVME_NVM_IOSQES << 4 | NVME_NVM_IOSQES;
	id->cqes = NVME_NVM_IOCQES << 4 | NVME_NVM_IOCQES;
	id->maxcmd = cpu_to_le16(NVL_MAX_ENTRIES);
	id->nn = cpu_to_le32(NVL_NSID);
	id->wctemp = cpu_to_le16(273 + 70);
	id->cctemp = cpu_to_le16(273 + 80);
	put_unaligned_le64(ctrl->nr_blocks << ctrl->block_shift, id->tnvmcap);
}

static void nvl_fill_abilities(const struct nvl_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	id->cntrltype = NVME_CTRL_IO;
	id->frmw = 1 << 1 | 1;			/* one slot, read only */
	id->lpa = 1 << 1 | 1 << 2;		/* effects log, extended data */
	id->npss = 0;
	id->psd[0].max_power = cpu_to_le16(500);
	id->oncs = cpu_to_le16(NVME_CTRL_ONCS_DSM | NVME_CTRL_ONCS_WRITE_ZEROES |
			       1 << 4);		/* Select of Get Features */
	/* bits 2:1: Flush takes NSID FFFFFFFFh */
	id->vwc = 3 << 1 | (ctrl->set->vwc ? NVME_CTRL_VWC_PRESENT : 0);
	id->rtd3r = cpu_to_le32(USEC_PER_SEC);
	id->rtd3e = cpu_to_le32(USEC_PER_SEC);
}

static void nvl_identify_ctrl(const struct nvl_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	id->vid = cpu_to_le16(NVL_PCI_VENDOR);
	id->ssvid = cpu_to_le16(NVL_PCI_VENDOR);
	nvl_pad(id->sn, sizeof(id->sn), ctrl->set->serial);
	nvl_pad(id->mn, sizeof(id->mn), ctrl->set->model);
	nvl_pad(id->fr, sizeof(id->fr), NVL_VERSION);
	id->rab = 3;
	id->cntlid = cpu_to_le16(1);
	id->ver = cpu_to_le32(NVME_VS(1, 4, 0));
	strscpy(id->subnqn, ctrl->set->subnqn, sizeof(id->subnqn));
	nvl_fill_limits(ctrl, id);
	nvl_fill_abilities(ctrl, id);
}

/* The universal administered bit off, the local bit on: nobody's OUI. */
static void nvl_ns_ids(const struct nvl_ctrl *ctrl, u8 nguid[16], u8 eui64[8])
{
	u64 id[2];

	nvl_identity(ctrl->name, 'n', id);
	put_unaligned_be64(id[0], nguid);
	put_unaligned_be64(id[1], nguid + 8);
	nguid[8] = (nguid[8] | 2) & ~1;
	memcpy(eui64, nguid + 8, 8);
}

static void nvl_identify_ns(const struct nvl_ctrl *ctrl, struct nvme_id_ns *id)
{
	id->nsze = cpu_to_le64(ctrl->nr_blocks);
	id->ncap = id->nsze;
	id->nuse = id->nsze;
	/* one format: what reads as zeros after deallocation, and says so */
	id->lbaf[0].ds = ctrl->block_shift;
	id->dlfeat = 1 | 1 << 3;
	put_unaligned_le64(ctrl->nr_blocks << ctrl->block_shift, id->nvmcap);
	nvl_ns_ids(ctrl, id->nguid, id->eui64);
}

static u8 *nvl_descriptor(u8 *at, u8 type, u8 len, const void *value)
{
	struct nvme_ns_id_desc *desc = (struct nvme_ns_id_desc *)at;

	desc->nidt = type;
	desc->nidl = len;
	memcpy(desc + 1, value, len);
	return at + sizeof(*desc) + len;
}

static void nvl_identify_descriptors(const struct nvl_ctrl *ctrl, u8 *at)
{
	u8 nguid[16], eui64[8];
	u8 uuid[16];
	u64 id[2];

	nvl_ns_ids(ctrl, nguid, eui64);
	nvl_identity(ctrl->name, 'u', id);
	memcpy(uuid, id, sizeof(uuid));
	uuid[6] = (uuid[6] & 0x0f) | 0x80; /* RFC 9562: version 8 */
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	at = nvl_descriptor(at, NVME_NIDT_EUI64, sizeof(eui64), eui64);
	at = nvl_descriptor(at, NVME_NIDT_NGUID, sizeof(nguid), nguid);
	nvl_descriptor(at, NVME_NIDT_UUID, sizeof(uuid), uuid);
}

/* Namespaces above @nsid: there is one. */
static u16 nvl_identify_list(u32 nsid, __le32 *list)
{
	if (nsid >= 0xfffffffe)
		return NVME_SC_INVALID_NS | NVL_DNR;
	if (nsid < NVL_NSID)
		list[0] = cpu_to_le32(NVL_NSID);
	return 0;
}

static u16 nvl_identify_active(const struct nvl_ctrl *ctrl, u8 cns, u32 nsid)
{
	if (nsid != NVL_NSID)
		return NVME_SC_INVALID_NS | NVL_DNR;
	if (cns == NVME_ID_CNS_NS)
		nvl_identify_ns(ctrl, ctrl->page);
	else
		nvl_identify_descriptors(ctrl, ctrl->page);
	return 0;
}

/**
 * nvl_identify() - Identify
 * @ctrl: the controller
 * @cmd: the command
 *
 * Return: status field.
 */
u16 nvl_identify(struct nvl_ctrl *ctrl, const struct nvme_command *cmd)
{
	u32 nsid = le32_to_cpu(cmd->identify.nsid);
	u8 cns = cmd->identify.cns;
	u16 status = 0;

	memset(ctrl->page, 0, PAGE_SIZE);
	switch (cns) {
	case NVME_ID_CNS_NS:
	case NVME_ID_CNS_NS_DESC_LIST:
		status = nvl_identify_active(ctrl, cns, nsid);
		break;
	case NVME_ID_CNS_CTRL:
		nvl_identify_ctrl(ctrl, ctrl->page);
		break;
	case NVME_ID_CNS_NS_ACTIVE_LIST:
		status = nvl_identify_list(nsid, ctrl->page);
		break;
	default:
		status = NVME_SC_INVALID_FIELD | NVL_DNR;
	}
	return status ?: nvl_admin_reply(ctrl, cmd, ctrl->page, PAGE_SIZE, PAGE_SIZE);
}

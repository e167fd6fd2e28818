// SPDX-License-Identifier: GPL-2.0-or-later
/* Identify (NVMe 1.4, 5.15), and what 2.0 adds that drivers ask for. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/log2.h>
#include <linux/string.h>

#include "compat.h"
#include "fdp.h"
#include "nvlab.h"

/* Of NVMe 2.0. */
#define NVL_ID_NS_MSSRL			74
#define NVL_ID_NS_MCL			76
#define NVL_ID_NS_MSRC			80
#define NVL_ID_CTRL_OCFS		534
#define NVL_ONCS_COPY			BIT(8)

/* Optional commands of namespaces with blocks; bit 7 is Verify. */
#define NVL_ONCS_BLOCKS		(NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_WRITE_UNCORRECTABLE | \
				 NVME_CTRL_ONCS_DSM | NVME_CTRL_ONCS_WRITE_ZEROES | BIT(7) | \
				 NVL_ONCS_COPY)

/* Endurance groups, of which there is one with FDP (2.1) and else none. */
#define NVL_ID_CTRL_ENDGIDMAX		340
#define NVL_ID_NS_ENDGID		102
#define NVL_ID_CNS_ENDGIDS		0x19
#define NVL_CTRATT_GROUPS		BIT(4)
#define NVL_CTRATT_FDPS			BIT(19)
#define NVL_OACS_DIRECTIVES		BIT(5)

/* Of a name that no other namespace has, had, or will have. */
static u64 nvl_ns_kind(const struct nvl_ctrl *ctrl, u32 nsid, char what)
{
	return what | (nsid - 1) << 8 | (u64)ctrl->subsys->ns[nsid].made << 32;
}

static void nvl_pad(char *field, size_t len, const char *text)
{
	memset(field, ' ', len);
	memcpy(field, text, min(len, strlen(text)));
}

static void nvl_fill_limits(const struct nvl_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	id->mdts = ctrl->set->mdts;
	id->acl = 3;
	id->aerl = NVL_MAX_AERS - 1;
	id->elpe = NVL_ERROR_ENTRIES - 1;
	id->sqes = NVME_NVM_IOSQES << 4 | NVME_NVM_IOSQES;
	id->cqes = NVME_NVM_IOCQES << 4 | NVME_NVM_IOCQES;
	id->maxcmd = cpu_to_le16(ctrl->set->entries);
	id->nn = cpu_to_le32(NVC_MAX_NS);
	id->mnan = id->nn;
	id->wctemp = cpu_to_le16(NVL_WARNING_TEMPERATURE);
	id->cctemp = cpu_to_le16(NVL_CRITICAL_TEMPERATURE);
	put_unaligned_le64(ctrl->subsys->capacity, id->tnvmcap);
	put_unaligned_le64(nvc_ns_free(ctrl->subsys->core, NULL), id->unvmcap);
}

static void nvl_fill_abilities(const struct nvl_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	bool zoned = ctrl->set->kind == NVC_ZNS;
	bool fixed = nvl_has_sets(ctrl->set);

	id->cntrltype = NVME_CTRL_IO;
	id->frmw = 1 << 1 | 1;			/* one slot, read only */
	id->lpa = 1 << 1 | 1 << 2;		/* effects log, extended data */
	id->npss = 0;
	id->psd[0].max_power = cpu_to_le16(500);
	id->oaes = cpu_to_le32(1 << 8 |		/* namespace attributes */
			       (zoned ? NVL_ASYNC_ZONES : 0));
	id->oacs = cpu_to_le16(1 << 1 |		/* Format NVM */
			       (fixed ? 0 : NVME_CTRL_OACS_NS_MNGT_SUPP));
	id->oncs = cpu_to_le16(1 << 4 |		/* Select of Get Features */
			       NVME_CTRL_ONCS_TIMESTAMP |
			       (ctrl->set->kind == NVC_KV ? 0 : NVL_ONCS_BLOCKS));
	put_unaligned_le16(ctrl->set->kind != NVC_KV, (u8 *)id + NVL_ID_CTRL_OCFS);
	id->nwpc = 1;				/* write protect, and no longer */
	/* bits 2:1: Flush takes NSID FFFFFFFFh */
	id->vwc = 3 << 1 | (ctrl->set->vwc ? NVME_CTRL_VWC_PRESENT : 0);
	id->rtd3r = cpu_to_le32(USEC_PER_SEC);
	id->rtd3e = cpu_to_le32(USEC_PER_SEC);
}

static void nvl_fill_placement(const struct nvl_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	if (!nvl_handles(ctrl))
		return;
	id->ctratt |= cpu_to_le32(NVL_CTRATT_GROUPS | NVL_CTRATT_FDPS);
	id->oacs |= cpu_to_le16(NVL_OACS_DIRECTIVES);
	put_unaligned_le16(1, (u8 *)id + NVL_ID_CTRL_ENDGIDMAX);
}

static void nvl_identify_ctrl(const struct nvl_ctrl *ctrl, struct nvme_id_ctrl *id)
{
	id->vid = cpu_to_le16(NVL_PCI_VENDOR);
	id->ssvid = cpu_to_le16(NVL_PCI_VENDOR);
	nvl_pad(id->sn, sizeof(id->sn), ctrl->set->serial);
	nvl_pad(id->mn, sizeof(id->mn), ctrl->set->model);
	nvl_pad(id->fr, sizeof(id->fr), ctrl->set->firmware);
	id->rab = 3;
	id->cntlid = cpu_to_le16(ctrl->index + 1);
	id->cmic = ctrl->subsys->nr_ctrls > 1 ? NVME_CTRL_CMIC_MULTI_CTRL : 0;
	id->ver = cpu_to_le32(NVME_VS(1, 4, 0));
	strscpy(id->subnqn, ctrl->set->subnqn, sizeof(id->subnqn));
	nvl_fill_limits(ctrl, id);
	nvl_fill_abilities(ctrl, id);
	nvl_fill_placement(ctrl, id);
}

/**
 * nvl_ns_ids() - identifiers of a namespace
 * @ctrl: a controller
 * @nsid: the namespace, which exists
 * @nguid: filled in
 * @eui64: filled in
 *
 * The universal administered bit off, the local bit on: nobody's OUI.
 */
void nvl_ns_ids(const struct nvl_ctrl *ctrl, u32 nsid, u8 nguid[16], u8 eui64[8])
{
	u64 id[2];

	nvl_identity(ctrl->subsys->name, nvl_ns_kind(ctrl, nsid, 'n'), id);
	put_unaligned_be64(id[0], nguid);
	put_unaligned_be64(id[1], nguid + 8);
	nguid[8] = (nguid[8] | 2) & ~1;
	memcpy(eui64, nguid + 8, 8);
}

/* What all namespaces have in common. */
static void nvl_fill_formats(struct nvme_id_ns *id)
{
	id->nlbaf = 1;
	id->lbaf[0].ds = ilog2(SZ_512);
	id->lbaf[0].rp = NVME_LBAF_RP_BEST;
	id->lbaf[1].ds = ilog2(SZ_4K);
	id->lbaf[1].rp = NVME_LBAF_RP_BEST;
	/* DULBE can be asked for */
	id->nsfeat = 1 << 2;
	/* what reads as zeros after deallocation, and Write Zeroes does deallocate */
	id->dlfeat = 1 | 1 << 3;
}

/* Fields that came after 1.4. */
static void nvl_fill_copy(struct nvme_id_ns *id, u8 block_shift)
{
	u32 most = 1U << (NVC_COPY_SHIFT - block_shift);

	put_unaligned_le16(most, (u8 *)id + NVL_ID_NS_MSSRL);
	put_unaligned_le32(most, (u8 *)id + NVL_ID_NS_MCL);
	((u8 *)id)[NVL_ID_NS_MSRC] = NVC_MAX_SOURCES - 1;
}

/*
 * Of an SSD that says so: what lies in one page of 4 KiB is written as one, as storage is
 * touched a page at a time, and no power cut tears as much of it as the model has it.
 */
static void nvl_fill_atomic(const struct nvl_ctrl *ctrl, u8 block_shift, struct nvme_id_ns *id)
{
	u16 page = (SZ_4K >> block_shift) - 1; /* blocks, counted from zero */
	u32 awupf = ctrl->set->medium.awupf;

	if (ctrl->set->kind != NVC_SSD || !awupf || !page)
		return;
	id->nsfeat |= NVME_NS_FEAT_ATOMICS;
	id->nawun = cpu_to_le16(page);
	id->nawupf = cpu_to_le16(min_t(u32, awupf, page));
	id->nabsn = cpu_to_le16(page);
	id->nabspf = cpu_to_le16(page);
}

static void nvl_identify_ns(const struct nvl_ctrl *ctrl, u32 nsid, struct nvme_id_ns *id)
{
	const struct nvc_ns *ns = nvc_ns_get(ctrl->subsys->core, nsid);

	nvl_fill_formats(id);
	id->nsze = cpu_to_le64(ns->blocks);
	id->ncap = id->nsze;
	id->nuse = id->nsze;
	id->flbas = ns->block_shift == ilog2(SZ_4K);
	id->nmic = ctrl->subsys->ns[nsid].shared;
	id->nsattr = ns->flags & NVC_NS_PROTECTED ? 1 : 0;
	put_unaligned_le64(ns->bytes, id->nvmcap);
	nvl_fill_copy(id, ns->block_shift);
	nvl_fill_atomic(ctrl, ns->block_shift, id);
	put_unaligned_le16(!!nvl_handles(ctrl), (u8 *)id + NVL_ID_NS_ENDGID);
	nvl_ns_ids(ctrl, nsid, id->nguid, id->eui64);
}

static u8 *nvl_descriptor(u8 *at, u8 type, u8 len, const void *value)
{
	struct nvme_ns_id_desc *desc = (struct nvme_ns_id_desc *)at;

	desc->nidt = type;
	desc->nidl = len;
	memcpy(desc + 1, value, len);
	return at + sizeof(*desc) + len;
}

static void nvl_identify_descriptors(const struct nvl_ctrl *ctrl, u32 nsid, u8 *at)
{
	u8 nguid[16], eui64[8];
	u8 csi = nvl_set_of(ctrl, nsid);
	u8 uuid[16];
	u64 id[2];

	nvl_ns_ids(ctrl, nsid, nguid, eui64);
	nvl_identity(ctrl->subsys->name, nvl_ns_kind(ctrl, nsid, 'u'), id);
	memcpy(uuid, id, sizeof(uuid));
	uuid[6] = (uuid[6] & 0x0f) | 0x80; /* RFC 9562: version 8 */
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	at = nvl_descriptor(at, NVME_NIDT_EUI64, sizeof(eui64), eui64);
	at = nvl_descriptor(at, NVME_NIDT_NGUID, sizeof(nguid), nguid);
	at = nvl_descriptor(at, NVME_NIDT_UUID, sizeof(uuid), uuid);
	nvl_descriptor(at, NVME_NIDT_CSI, sizeof(csi), &csi);
}

/**
 * nvl_ns_status() - whether a namespace is active for a controller
 * @ctrl: the controller
 * @nsid: any number
 *
 * One of another command set is not for a host that enabled the NVM command set alone.
 *
 * Return: status field: success, Invalid Namespace or Format (no valid NSID),
 * or Invalid Field (inactive).
 */
u16 nvl_ns_status(const struct nvl_ctrl *ctrl, u32 nsid)
{
	const struct nvc_ns *ns = nvc_ns_get(ctrl->subsys->core, nsid);

	if (!nsid || nsid > NVC_MAX_NS)
		return NVME_SC_INVALID_NS | NVL_DNR;
	if (!ns || !(ns->attached >> ctrl->index & 1))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	if (ns->flags & (NVC_NS_ZONED | NVC_NS_KEYS) && !nvl_ctrl_sets(ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	return 0;
}

/* A namespace that is valid and not there, or inactive, is all zeros. */
static u16 nvl_identify_one(const struct nvl_ctrl *ctrl, u32 nsid, bool active,
			    struct nvme_id_ns *id)
{
	if (active && nsid == NVME_NSID_ALL) {
		nvl_fill_formats(id);
		return 0;
	}
	if (!nsid || nsid > NVC_MAX_NS)
		return NVME_SC_INVALID_NS | NVL_DNR;
	if (active ? nvl_ns_status(ctrl, nsid) : !nvc_ns_get(ctrl->subsys->core, nsid))
		return 0;
	/* of a namespace without blocks there is nothing of this to be told */
	if (nvl_set_of(ctrl, nsid) == NVL_CSI_KV)
		return NVL_SC_INVALID_SET | NVL_DNR;
	nvl_identify_ns(ctrl, nsid, id);
	return 0;
}

/* Of some controllers, by index, those with an identifier of @first at least. */
static u16 nvl_identify_ctrls(const struct nvl_ctrl *ctrl, u16 first, u32 bits, __le16 *list)
{
	u16 nr = 0;
	u16 i;

	for (i = 0; i < ctrl->subsys->nr_ctrls; i++)
		if (bits >> i & 1 && i + 1 >= first)
			list[++nr] = cpu_to_le16(i + 1);
	list[0] = cpu_to_le16(nr);
	return 0;
}

static u16 nvl_identify_attached(const struct nvl_ctrl *ctrl, u32 nsid, u16 first, void *list)
{
	const struct nvc_ns *ns = nvc_ns_get(ctrl->subsys->core, nsid);

	if (!nsid || nsid > NVC_MAX_NS)
		return NVME_SC_INVALID_NS | NVL_DNR;
	if (!ns)
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	return nvl_identify_ctrls(ctrl, first, ns->attached, list);
}

/* All endurance groups: number 1. */
static u16 nvl_identify_groups(const struct nvl_ctrl *ctrl, __le16 *list)
{
	if (!nvl_handles(ctrl))
		return NVME_SC_INVALID_FIELD | NVL_DNR;
	list[0] = cpu_to_le16(1);
	list[1] = cpu_to_le16(1);
	return 0;
}

static u16 nvl_identify_fill(struct nvl_ctrl *ctrl, const struct nvme_identify *c)
{
	u32 nsid = le32_to_cpu(c->nsid);
	u16 first = le16_to_cpu(c->ctrlid);
	u16 status;

	switch (c->cns) {
	case NVME_ID_CNS_NS:
	case NVME_ID_CNS_NS_PRESENT:
		return nvl_identify_one(ctrl, nsid, c->cns == NVME_ID_CNS_NS, ctrl->page);
	case NVME_ID_CNS_CTRL:
		nvl_identify_ctrl(ctrl, ctrl->page);
		return 0;
	case NVME_ID_CNS_NS_ACTIVE_LIST:
	case NVME_ID_CNS_NS_PRESENT_LIST:
		return nvl_identify_list(ctrl, nsid, c->cns == NVME_ID_CNS_NS_ACTIVE_LIST, ~0U);
	case NVME_ID_CNS_NS_DESC_LIST:
		status = nvl_ns_status(ctrl, nsid);
		if (!status)
			nvl_identify_descriptors(ctrl, nsid, ctrl->page);
		return status;
	case NVL_ID_CNS_ENDGIDS:
		return nvl_identify_groups(ctrl, ctrl->page);
	case NVME_ID_CNS_CTRL_NS_LIST:
		return nvl_identify_attached(ctrl, nsid, first, ctrl->page);
	case NVME_ID_CNS_CTRL_LIST:
		return nvl_identify_ctrls(ctrl, first, ~0U, ctrl->page);
	default:
		return nvl_identify_set(ctrl, c);
	}
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
	u16 status;

	memset(ctrl->page, 0, PAGE_SIZE);
	status = nvl_identify_fill(ctrl, &cmd->identify);
	return status ?: nvl_admin_reply(ctrl, cmd, ctrl->page, PAGE_SIZE, PAGE_SIZE);
}
